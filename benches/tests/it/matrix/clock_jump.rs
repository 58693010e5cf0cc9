//! The clocks of server and agent jump an hour ahead, and back.

use anyhow::{Result, ensure};
use chrono::TimeDelta;
use nxmesh_benches::{FakeClock, Point, Surroundings};
use nxmesh_core::{Clock, SystemClock};

use super::cell::{Cell, Fault};

const HOUR: i64 = 3600;

/// A clock of the server and one of the agent: they jump in turn.
struct ClockJump {
    server: FakeClock,
    agent: FakeClock,
}

at_each_moment!(ClockJump);

impl Fault for ClockJump {
    async fn prepare() -> Result<(Self, Cell)> {
        let (server, agent) = (FakeClock::new()?, FakeClock::new()?);
        let environment = agent.environment();
        let surroundings = Surroundings { environment, ..Surroundings::default() };
        let cell = Cell::start_with(surroundings, server.environment()).await?;
        Ok((Self { server, agent }, cell))
    }

    async fn change(&mut self, cell: &Cell, _: Point) -> Result<()> {
        cell.change().await
    }

    async fn come(&mut self, _: &mut Cell, _: Point) -> Result<()> {
        self.server.jump(HOUR)?;
        self.agent.jump(HOUR)
    }

    async fn last(&mut self, cell: &mut Cell, _: Point) -> Result<()> {
        cell.comes_to("new").await?;
        cell.tells_the_truth().await?;
        // Both did jump.
        let soon = SystemClock.now() + TimeDelta::seconds(HOUR / 2);
        let shown = cell.mesh.shown().await?;
        let applied = shown.last_apply.as_ref().map(|it| it.at);
        ensure!(shown.last_seen_at > Some(soon) && applied > Some(soon), "{shown:?}");
        // Two hours apart.
        self.agent.jump(-HOUR)?;
        cell.tells_the_truth().await
    }

    async fn go(&mut self, _: &mut Cell) -> Result<()> {
        self.server.jump(0)?;
        self.agent.jump(0)
    }

    async fn after(&mut self, _: &Cell) -> Result<()> {
        Ok(())
    }
}
