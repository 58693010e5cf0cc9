//! How long to wait: before dialing again, and for a server that says nothing.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use nxmesh_core::gateway::link::ServerMessage;
use tokio::time::Instant;

/// The first wait before dialing again. Each is changed by chance, so that a fleet does not come back
/// as one.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longer and longer waits.
pub(super) struct Waits(ExponentialBackoff);

impl Waits {
    /// Chance makes each up to twice as long.
    pub(super) fn new(longest: Duration) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT / 2)
            .with_max_delay(longest / 2)
            .with_jitter()
            .without_max_times();
        Self(waits.build())
    }

    pub(super) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(FIRST_WAIT)
    }
}

/// How long nothing was heard. A network that swallows everything, and a server that hangs, are
/// noticed by nothing else.
pub(super) struct Silence {
    heartbeat: Duration,
    since: Instant,
    /// The server says that it hears: only then does its silence mean something.
    answers: bool,
}

impl Silence {
    pub(super) fn new(heartbeat: Duration) -> Self {
        Self { heartbeat, since: Instant::now(), answers: false }
    }

    pub(super) fn broken_by(&mut self, message: ServerMessage) -> ServerMessage {
        self.since = Instant::now();
        self.answers |= message == ServerMessage::Heard;
        message
    }

    pub(super) async fn too_long(&self) {
        match self.answers {
            true => tokio::time::sleep_until(self.since + self.heartbeat * 3).await,
            false => std::future::pending().await,
        }
    }
}
