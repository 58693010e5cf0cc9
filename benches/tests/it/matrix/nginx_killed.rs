//! nginx's master dies. It is started again by the agent.

use anyhow::Result;
use nxmesh_benches::{Point, wait_for};
use rustix::process::Signal;

use super::cell::{Cell, Fault, PATIENCE};

struct NginxKilled {
    before: Option<u32>,
}

at_each_moment!(NginxKilled);

impl Fault for NginxKilled {
    async fn prepare() -> Result<(Self, Cell)> {
        let cell = Cell::start().await?;
        Ok((Self { before: cell.mesh.agent.nginx_pid() }, cell))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    /// Nobody is served between the end of one nginx and the start of the next, so nobody asks
    /// until there is another master; from then on nobody may be turned away.
    async fn come(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.rest(&["old", "new"]).await?;
        cell.mesh.agent.signal_nginx(Signal::KILL)
    }

    async fn last(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        let is_back = || async {
            cell.mesh.agent.nginx_pid() != self.before && cell.served().await.is_some()
        };
        wait_for("another master", PATIENCE, is_back).await?;
        cell.work();
        cell.tells_the_truth().await
    }

    async fn go(&mut self, _: &mut Cell) -> Result<()> {
        Ok(())
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}
