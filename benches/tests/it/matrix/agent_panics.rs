//! A part of the agent panics: all of it ends and says so, and whoever started it starts another one.

use anyhow::{Result, ensure};
use nxmesh_benches::Point;
use nxmesh_core::gateway::AgentState;

use super::cell::{Cell, Fault};

struct AgentPanics;

at_each_moment!(AgentPanics);

impl Fault for AgentPanics {
    async fn prepare() -> Result<(Self, Cell)> {
        Ok((Self, Cell::start().await?))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        cell.faults.panic_at(at)
    }

    /// nginx goes on without it. Only when nginx was told already it serves the new version.
    async fn last(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        let status = cell.mesh.agent.process().ended().await?;
        ensure!(status == Some(2), "the agent ended with {status:?}");
        cell.comes_to(if at == Point::Proof { "new" } else { "old" }).await?;
        cell.mesh.wait_for_state(AgentState::Offline).await?;
        let shown = cell.mesh.shown().await?;
        ensure!(shown.convergence.lagging, "nobody proved the new version: {shown:?}");
        Ok(())
    }

    async fn go(&mut self, cell: &mut Cell) -> Result<()> {
        cell.mesh.agent.restart()
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}
