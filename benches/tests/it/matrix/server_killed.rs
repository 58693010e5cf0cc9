//! The server dies, and comes back.

use anyhow::Result;
use nxmesh_benches::Point;

use super::cell::{Cell, Fault};

struct ServerKilled;

at_each_moment!(ServerKilled);

impl Fault for ServerKilled {
    async fn prepare() -> Result<(Self, Cell)> {
        Ok((Self, Cell::start().await?))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.mesh.server.process().kill().await
    }

    /// What was asked for is served without whoever asked.
    async fn last(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.comes_to("new").await
    }

    async fn go(&mut self, cell: &mut Cell) -> Result<()> {
        cell.mesh.server.restart().await
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}
