//! Somebody else holds a port that the new version needs, and lets go of it.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use nxmesh_benches::{Point, free_port, get, wait_for};
use nxmesh_core::gateway::{AgentState, NewChangeSet};

use super::cell::{Cell, Fault, PATIENCE};

const OTHER: &str = "other.example";

struct PortHeld {
    port: u16,
    holder: Option<TcpListener>,
}

at_each_moment!(PortHeld);

impl PortHeld {
    fn hold(&mut self) -> Result<()> {
        self.holder = Some(TcpListener::bind(("0.0.0.0", self.port))?);
        Ok(())
    }
}

impl Fault for PortHeld {
    async fn prepare() -> Result<(Self, Cell)> {
        Ok((Self { port: free_port(), holder: None }, Cell::start().await?))
    }

    /// A second virtual host on that port comes with the new version. When nginx was told it has
    /// the port, or goes on trying for seconds: for that, it is held a little earlier.
    async fn change(&mut self, cell: &Cell, at: Point) -> Result<()> {
        let set = NewChangeSet::new("the new version")
            .update_virtual_host(cell.host, None, &cell.patch()?)
            .create_virtual_host(&cell.mesh.host(OTHER, self.port));
        if at == Point::Proof {
            cell.faults.hold(Point::Reload)?;
        }
        cell.mesh.client.changes().apply(cell.mesh.workspace, &set).await?;
        if at == Point::Proof {
            cell.faults.reached(Point::Reload).await?;
            self.hold()?;
            cell.faults.release(Point::Reload)?;
        }
        Ok(())
    }

    async fn come(&mut self, _: &mut Cell, at: Point) -> Result<()> {
        if at == Point::Proof { Ok(()) } else { self.hold() }
    }

    /// All else of the new version is served, and the rest is told.
    async fn last(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        if at == Point::Proof {
            return Ok(());
        }
        cell.comes_to("new").await?;
        cell.mesh.wait_for_state(AgentState::Degraded).await?;
        cell.tells_the_truth().await?;
        let shown = cell.mesh.shown().await?;
        let held: Vec<_> =
            shown.quarantined.iter().map(|it| (it.name.as_str(), it.field.as_str())).collect();
        ensure!(held == [(OTHER, "listen_port")], "it holds back {held:?}");
        Ok(())
    }

    async fn go(&mut self, _: &mut Cell) -> Result<()> {
        self.holder = None;
        Ok(())
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        let answers =
            || async { get(self.port, OTHER, "/").await.is_ok_and(|(status, _)| status == 200) };
        wait_for("the virtual host on that port", PATIENCE, answers).await?;
        Ok(())
    }
}
