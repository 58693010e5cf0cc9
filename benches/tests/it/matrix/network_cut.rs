//! The network between agent and server swallows everything, and nobody is told.

use anyhow::Result;
use nxmesh_benches::{Point, Proxy, ServerProcess, Surroundings};
use nxmesh_core::gateway::AgentState;

use super::cell::{Cell, Fault};

struct NetworkCut(Proxy);

at_each_moment!(NetworkCut);

impl Fault for NetworkCut {
    async fn prepare() -> Result<(Self, Cell)> {
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start(&folder.path().join("server")).await?;
        let network = Proxy::start_to(server.grpc().trim_start_matches("http://").parse()?).await?;
        let dials = Some(format!("http://{}", network.address()));
        let surroundings = Surroundings { dials, ..Surroundings::default() };
        Ok((Self(network), Cell::start_around(folder, server, surroundings).await?))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, _: &mut Cell, _: Point) -> Result<()> {
        self.0.stall();
        Ok(())
    }

    /// What was asked for is served without whoever asked, who only knows that it is not heard of.
    async fn last(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.comes_to("new").await?;
        cell.mesh.wait_for_state(AgentState::Offline).await?;
        Ok(())
    }

    async fn go(&mut self, _: &mut Cell) -> Result<()> {
        self.0.resume();
        Ok(())
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}
