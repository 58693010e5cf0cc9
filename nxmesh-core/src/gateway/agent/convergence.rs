use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    RevisionNumber,
    gateway::{
        AgentHealth, AgentStatus, ConfigUpdate, ConfigVersion, LastApply, link::ApplyStatus,
    },
};

/// How far an agent is from what it should serve.
///
/// What is `verified` is proven to be served. It has the revision in which that content was first
/// sent: a revision that does not touch what an agent serves is not sent to it, and does not
/// leave it behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentConvergence {
    /// Whether it is not proven to serve what it should. Also when it is offline, or never
    /// connected.
    pub lagging: bool,
    /// Since when it is seen to be behind; nothing when that began while it was offline.
    pub behind_since: Option<DateTime<Utc>>,
    /// What it should serve, by the workspace as it is now.
    pub desired: Option<ConfigState>,
    /// What it was sent last.
    pub sent: Option<ConfigState>,
    /// What it said last that it has received.
    pub acknowledged: Option<ConfigState>,
    /// What it is proven to serve; nothing when that is not known.
    pub verified: Option<ConfigState>,
    /// How often in a row it did not manage to serve what it should.
    pub attempts: u32,
    /// Why not, the last time, in nginx's own words.
    pub error: Option<String>,
    /// When it is tried again; what is mended goes out at once.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// A configuration of an agent, and when it came so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigState {
    /// The revision of the workspace that it was made from.
    pub revision: RevisionNumber,
    /// Names the content: equal checksums mean equal content. Opaque.
    pub checksum: String,
    /// When: made, for what is desired; sent, acknowledged or proven for the others.
    pub at: DateTime<Utc>,
}

/// What is known of what was delivered to an agent: stored with its status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivered {
    /// See [`AgentConvergence::sent`].
    pub sent: Option<ConfigState>,
    /// See [`AgentConvergence::acknowledged`].
    pub acknowledged: Option<ConfigState>,
    /// Since when it is proven to serve what it serves.
    pub verified_at: Option<DateTime<Utc>>,
    /// See [`AgentConvergence::behind_since`].
    pub behind_since: Option<DateTime<Utc>>,
    /// Whether those who watch were told that it is behind.
    pub told: bool,
    /// See [`AgentConvergence::attempts`].
    pub attempts: u32,
    /// See [`AgentConvergence::next_attempt_at`].
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The last that it could not serve.
    pub failed: Option<FailedApply>,
    /// Of which content the following counts; what is held back of it makes no difference.
    pub counted_for: String,
    /// What it had answered when it began to serve that, or was started since.
    pub answered_then: Answered,
    /// What it answered with that before it was started anew.
    pub answered_until: Answered,
    /// What it answered with what it served before that.
    pub answered_before: Answered,
}

/// An agent could not serve what it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedApply {
    /// What, and when it said so, by the clock of the control plane.
    pub config: ConfigState,
    /// The beginning of what nginx said.
    pub error: String,
}

impl FailedApply {
    /// How much of what nginx said is kept, in characters.
    const MAX_ERROR: usize = 300;

    pub(crate) fn new(config: ConfigState, error: &str) -> Self {
        Self { config, error: error.chars().take(Self::MAX_ERROR).collect() }
    }
}

/// How many requests an agent's nginx answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Answered {
    /// All.
    pub requests: u64,
    /// Those that were answered with a status of 500 or more.
    pub responses_5xx: u64,
}

impl ConfigState {
    pub(crate) fn of(update: &ConfigUpdate, at: DateTime<Utc>) -> Self {
        Self { revision: update.version, checksum: update.checksum.clone(), at }
    }
}

impl Answered {
    /// What an agent had answered at its last report. Where nginx counts no requests, those that
    /// failed are all there were.
    pub(crate) fn at(health: Option<&AgentHealth>) -> Self {
        health.map_or_else(Self::default, |it| Self {
            requests: it.requests.unwrap_or(it.responses_5xx),
            responses_5xx: it.responses_5xx,
        })
    }

    /// What came on top of `then`. Whoever has answered less than then was started anew, and
    /// counts from nothing.
    pub(crate) fn since(self, then: Self) -> Self {
        if self.requests < then.requests || self.responses_5xx < then.responses_5xx {
            return self;
        }
        Self {
            requests: self.requests - then.requests,
            responses_5xx: self.responses_5xx - then.responses_5xx,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            responses_5xx: self.responses_5xx.saturating_add(other.responses_5xx),
        }
    }
}

impl AgentStatus {
    /// It is proven to serve this from now on, or nothing that is known.
    pub(crate) fn serves(&mut self, proven: Option<ConfigVersion>, now: DateTime<Utc>) {
        let content = |it: &Option<ConfigVersion>| it.as_ref().map(|it| it.checksum.clone());
        if content(&self.serving) != content(&proven) {
            self.delivered.verified_at = proven.is_some().then_some(now);
        }
        let counted_for = proven.as_ref().map(|it| ConfigUpdate::whole_of(&it.checksum));
        let counted_for = counted_for.unwrap_or_default();
        // While it is not known what it serves, that is what it served before.
        if !counted_for.is_empty() && counted_for != self.delivered.counted_for {
            self.delivered.counted_for = counted_for.to_owned();
            self.delivered.answered_before = self.answered_since();
            self.delivered.answered_until = Answered::default();
            self.delivered.answered_then = Answered::at(self.health.as_ref());
        }
        self.serving = proven;
    }

    /// It reports how it is: an agent that was started anew counts from nothing.
    pub(crate) fn reports(&mut self, health: AgentHealth) {
        let (before, now) = (Answered::at(self.health.as_ref()), Answered::at(Some(&health)));
        if now.requests < before.requests || now.responses_5xx < before.responses_5xx {
            self.delivered.answered_until = self.answered_since();
            self.delivered.answered_then = Answered::default();
        }
        self.health = Some(health);
    }

    /// What it answered since it serves what it serves.
    pub(crate) fn answered_since(&self) -> Answered {
        let since = Answered::at(self.health.as_ref()).since(self.delivered.answered_then);
        self.delivered.answered_until.plus(since)
    }

    /// How far it is from what it should serve.
    #[must_use]
    pub fn convergence(&self, desired: Option<ConfigState>) -> AgentConvergence {
        let Delivered {
            sent,
            acknowledged,
            verified_at,
            behind_since,
            told: _,
            attempts,
            next_attempt_at,
            failed: _,
            counted_for: _,
            answered_then: _,
            answered_until: _,
            answered_before: _,
        } = self.delivered.clone();
        let verified = self.serving.as_ref().map(|it| ConfigState {
            revision: it.version,
            checksum: it.checksum.clone(),
            at: verified_at.or(self.last_seen_at).unwrap_or_default(),
        });
        let content = |it: &Option<ConfigState>| it.as_ref().map(|it| it.checksum.clone());
        let lagging = desired.is_some() && content(&desired) != content(&verified);
        let refused =
            |it: &&LastApply| matches!(it.status, ApplyStatus::Failed | ApplyStatus::RolledBack);
        let refused = self.last_apply.as_ref().filter(refused).map(|it| &it.error_message);
        let held_back = self.quarantined.first().map(|it| &it.error);
        AgentConvergence {
            lagging,
            behind_since: behind_since.filter(|_| lagging),
            desired,
            sent,
            acknowledged,
            verified,
            attempts,
            error: refused.or(held_back).filter(|_| lagging).cloned(),
            next_attempt_at: next_attempt_at.filter(|_| lagging),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::NginxState;

    fn answered(requests: u64, responses_5xx: u64) -> Answered {
        Answered { requests, responses_5xx }
    }

    #[test]
    fn what_was_answered_since_counts_from_nothing_after_a_new_start() {
        assert_eq!(answered(10, 2).since(answered(4, 1)), answered(6, 1));
        assert_eq!(answered(10, 2).since(answered(10, 2)), answered(0, 0));
        assert_eq!(answered(3, 2).since(answered(10, 2)), answered(3, 2));
        assert_eq!(answered(10, 0).since(answered(10, 2)), answered(10, 0));
    }

    #[test]
    fn answers_are_counted_over_restarts_of_the_agent_and_by_content() {
        let now = DateTime::UNIX_EPOCH;
        let mut status = AgentStatus::default();
        let health = |requests| AgentHealth {
            nginx_status: NginxState::Running,
            nginx_uptime_seconds: 0,
            active_connections: 0,
            requests_per_second: 0.0,
            cpu_percent: 0.0,
            memory_used_mb: 0,
            config_version: RevisionNumber(1),
            draining_workers: 0,
            requests: Some(requests),
            responses_5xx: 0,
            messages_dropped: 0,
        };
        let serves = |checksum: &str| {
            Some(ConfigVersion { version: RevisionNumber(1), checksum: checksum.to_owned() })
        };
        status.serves(serves("a"), now);
        status.reports(health(100));
        // It is started anew, and it is not known for a moment what it serves.
        status.serves(None, now);
        status.reports(health(5));
        status.serves(serves("a-held"), now);
        assert_eq!(status.answered_since(), answered(105, 0));
        status.reports(health(200));
        assert_eq!(status.answered_since(), answered(300, 0));
        status.serves(serves("b"), now);
        assert_eq!(
            (status.answered_since(), status.delivered.answered_before),
            (answered(0, 0), answered(300, 0))
        );
    }

    #[test]
    fn an_agent_lags_until_its_content_is_the_desired_one_whatever_the_revision() {
        let now = DateTime::UNIX_EPOCH;
        let state = |revision, checksum: &str| {
            Some(ConfigState {
                revision: RevisionNumber(revision),
                checksum: checksum.to_owned(),
                at: now,
            })
        };
        let mut status = AgentStatus::default();
        assert!(status.convergence(state(1, "a")).lagging, "it serves nothing");
        let version = RevisionNumber(1);
        status.serves(Some(ConfigVersion { version, checksum: "a".to_owned() }), now);
        let convergence = status.convergence(state(5, "a"));
        assert!(!convergence.lagging);
        assert_eq!(convergence.verified, state(1, "a"));
        assert!(status.convergence(state(5, "b")).lagging);
    }
}
