//! A part of the agent panics: all of it ends and says so, and whoever started it starts another one.

use super::{
    agent_killed::goes_on_without_it,
    cell::{Cell, Fault},
};
use anyhow::{Result, ensure};
use nxmesh_benches::Point;

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

    async fn last(&mut self, cell: &mut Cell, at: Point) -> Result<()> {
        let status = cell.mesh.agent.process().ended().await?;
        ensure!(status == Some(1), "the agent ended with {status:?}");
        goes_on_without_it(cell, at).await
    }

    async fn go(&mut self, cell: &mut Cell) -> Result<()> {
        cell.mesh.agent.restart()
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}
