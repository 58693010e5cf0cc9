//! The agent dies, and comes back.

use anyhow::{Result, ensure};
use nxmesh_benches::Point;
use nxmesh_core::gateway::AgentState;

use super::cell::{Cell, Fault};

struct AgentKilled;

at_each_moment!(AgentKilled);

impl Fault for AgentKilled {
    async fn prepare() -> Result<(Self, Cell)> {
        Ok((Self, Cell::start().await?))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.mesh.agent.kill().await
    }

    async fn last(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        goes_on_without_it(cell, at).await
    }

    async fn go(&mut self, cell: &mut Cell) -> Result<()> {
        cell.mesh.agent.restart()
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}

/// nginx goes on without its agent. Only when nginx was told already it serves the new version.
pub(super) async fn goes_on_without_it(cell: &Cell, at: Point) -> Result<()> {
    cell.comes_to(if at == Point::Proof { "new" } else { "old" }).await?;
    cell.mesh.wait_for_state(AgentState::Offline).await?;
    let shown = cell.mesh.shown().await?;
    ensure!(shown.convergence.lagging, "nobody proved the new version: {shown:?}");
    Ok(())
}
