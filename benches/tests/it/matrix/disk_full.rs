//! The disk with the state folder is full, and then has room again.

use std::{fs::OpenOptions, io::Write};

use anyhow::{Result, ensure};
use nxmesh_benches::{Point, SmallDisk, Surroundings};
use nxmesh_core::gateway::AgentState;

use super::cell::{Cell, Fault};

struct DiskFull(SmallDisk);

at_each_moment!(DiskFull);

impl DiskFull {
    /// Nothing fits on the disk any more, nor what the agent logs, which goes there too.
    fn fill(&self, cell: &Cell) -> Result<()> {
        self.0.fill()?;
        let mut log =
            OpenOptions::new().append(true).open(cell.mesh.agent.folder().join("agent.log"))?;
        while log.write_all(b"\n").is_ok() {}
        Ok(())
    }
}

impl Fault for DiskFull {
    async fn prepare() -> Result<(Self, Cell)> {
        let disk = SmallDisk::make()?;
        let state = Some(disk.path().join("agent"));
        let surroundings = Surroundings { state, ..Surroundings::default() };
        Ok((Self(disk), Cell::start_with(surroundings, Vec::new()).await?))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        self.fill(cell)
    }

    /// What is switched to needs no room any more; what is not waits, and it is told why.
    async fn last(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        if matches!(at, Point::Reload | Point::Proof) {
            cell.comes_to("new").await?;
            return cell.tells_the_truth().await;
        }
        cell.tells_the_truth().await?;
        cell.mesh.wait_for_state(AgentState::Degraded).await?;
        let error = cell.mesh.shown().await?.convergence.error.unwrap_or_default();
        ensure!(error.contains("No space left on device"), "it says {error:?}");
        cell.comes_to("old").await
    }

    async fn go(&mut self, _: &mut Cell) -> Result<()> {
        self.0.free()
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_started_on_a_full_disk_takes_nginx_over() -> Result<()> {
    let (fault, mut cell) = DiskFull::prepare().await?;
    cell.work();
    fault.fill(&cell)?;
    cell.mesh.agent.kill().await?;
    cell.mesh.wait_for_state(AgentState::Offline).await?;
    cell.mesh.agent.restart()?;
    cell.mesh.wait_for_state(AgentState::Online).await?;
    cell.tells_the_truth().await?;
    cell.rest(&["old"]).await?;
    Ok(())
}
