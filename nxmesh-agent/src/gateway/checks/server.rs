//! How one server is, by its answers: pure.

use chrono::{DateTime, Utc};
use nxmesh_core::gateway::{HealthCheck, checks::ServerState};

/// A server that is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) state: ServerState,
    pub(super) since: Option<DateTime<Utc>>,
    /// Why the last check failed; empty when it did not.
    pub(super) last_error: String,
    pub(super) failures: u32,
    successes: u32,
}

impl Server {
    /// One that was out of rotation before the agent was started: it stays there until it has
    /// answered often enough.
    pub(super) fn out(now: DateTime<Utc>) -> Self {
        Self { state: ServerState::Unhealthy, since: Some(now), ..Self::default() }
    }

    /// Takes the outcome of a check; answers how the server is from now on, if that is new.
    pub(super) fn note(
        &mut self,
        outcome: Result<(), String>,
        check: &HealthCheck,
        now: DateTime<Utc>,
    ) -> Option<ServerState> {
        match outcome {
            Ok(()) => {
                self.successes = self.successes.saturating_add(1);
                self.failures = 0;
                self.last_error.clear();
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                self.successes = 0;
                self.last_error = reason;
            }
        }
        let enough = match self.state {
            ServerState::Unhealthy => check.healthy_threshold,
            // It takes requests already: there is nothing to wait for.
            ServerState::Unknown | ServerState::Healthy => 1,
        };
        let state = if self.failures >= check.unhealthy_threshold {
            ServerState::Unhealthy
        } else if self.successes >= enough {
            ServerState::Healthy
        } else {
            self.state
        };
        if state == self.state {
            return None;
        }
        self.state = state;
        self.since = Some(now);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use ServerState::{Healthy, Unhealthy};
    use nxmesh_core::from_json;
    use serde_json::json;

    use super::*;

    /// What follows from each answer of a server, `+` or `-`, with thresholds of 2 and 3.
    fn changes(mut server: Server, answers: &str) -> Vec<Option<ServerState>> {
        let check: HealthCheck =
            from_json(json!({"healthy_threshold": 2, "unhealthy_threshold": 3})).unwrap();
        let outcome = |it| if it == '+' { Ok(()) } else { Err("refused".to_owned()) };
        let now = DateTime::UNIX_EPOCH;
        answers.chars().map(|it| server.note(outcome(it), &check, now)).collect()
    }

    #[test]
    fn a_server_goes_at_the_threshold_and_not_before() {
        assert_eq!(changes(Server::default(), "--"), [None, None]);
        assert_eq!(changes(Server::default(), "---"), [None, None, Some(Unhealthy)]);
        assert_eq!(changes(Server::default(), "+----")[1..], [None, None, Some(Unhealthy), None]);
        let interrupted = changes(Server::default(), "--+--");
        assert_eq!(interrupted, [None, None, Some(Healthy), None, None], "not in a row");
    }

    #[test]
    fn a_server_comes_back_at_the_threshold_and_not_before() {
        let out = || Server::out(DateTime::UNIX_EPOCH);
        assert_eq!(changes(out(), "+"), [None]);
        assert_eq!(changes(out(), "++"), [None, Some(Healthy)]);
        assert_eq!(changes(out(), "+-+"), [None, None, None], "not in a row");
        assert_eq!(changes(out(), "-"), [None], "it is out already");
    }
}
