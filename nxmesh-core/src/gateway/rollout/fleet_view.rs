use chrono::{DateTime, TimeDelta, Utc};

use super::Wave;
use crate::{
    RevisionNumber,
    gateway::{
        AgentId, AgentRecord, AgentState, Answered, ConfigUpdate, FailedApply, Labels, NginxState,
    },
};

/// How far the clocks of two servers may be apart.
const SKEW: TimeDelta = TimeDelta::seconds(5);

/// What matters of an agent to a rollout.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct AgentView {
    pub(in crate::gateway) id: AgentId,
    pub(in crate::gateway) name: String,
    pub(in crate::gateway) labels: Labels,
    pub(in crate::gateway) connected: bool,
    /// When it was last heard of; nothing where it leaves what is on its host as it is for now, which
    /// nobody waits for.
    pub(in crate::gateway) last_seen_at: Option<DateTime<Utc>>,
    /// Whether it is proven to serve what it should on the revision of the rollout, but for what it
    /// holds back.
    pub(in crate::gateway) verified: bool,
    /// Since when it serves what it serves.
    pub(in crate::gateway) verified_at: Option<DateTime<Utc>>,
    /// What it could not serve last.
    pub(in crate::gateway) failed: Option<FailedApply>,
    pub(in crate::gateway) nginx_down: bool,
    pub(in crate::gateway) answered_before: Answered,
    pub(in crate::gateway) answered_since: Answered,
}

/// An agent as a rollout sees it, whose revision comes to this for it; those unheard of since
/// `alive_since` count as gone.
pub(in crate::gateway) fn view_of(
    agent: &AgentRecord,
    update: &ConfigUpdate,
    alive_since: DateTime<Utc>,
) -> AgentView {
    let status = &agent.status;
    let connected = matches!(status.state(alive_since), AgentState::Online | AgentState::Degraded);
    let follows = agent.spec.drift.held_until(alive_since).is_none();
    let connected = connected && follows;
    let health = status.health.as_ref();
    let stopped = health.is_some_and(|it| it.nginx_status == NginxState::Stopped);
    let delivered = &status.delivered;
    AgentView {
        id: agent.spec.id,
        name: agent.spec.name.to_string(),
        labels: agent.spec.labels.clone(),
        connected,
        last_seen_at: status.last_seen_at.filter(|_| follows),
        verified: status.serving.as_ref().is_some_and(|it| update.is_served_as(&it.checksum)),
        verified_at: delivered.verified_at,
        failed: delivered.failed.clone(),
        nginx_down: connected && stopped,
        answered_before: delivered.answered_before,
        answered_since: status.answered_since(),
    }
}

impl AgentView {
    /// Whether it could not serve the revision since a wave was started.
    pub(super) fn failed_in(&self, revision: RevisionNumber, wave: &Wave) -> Option<&FailedApply> {
        let since = wave.started_at?;
        self.failed.as_ref().filter(|it| it.config.revision == revision && it.config.at >= since)
    }

    /// Whether it has yet to prove that it serves the revision: it is there, or was when the wave was
    /// begun. Whoever goes away with what it was sent, or with the server that it was at, has not
    /// proven anything.
    pub(super) fn is_awaited_in(&self, wave: &Wave) -> bool {
        let was_there = |since| self.last_seen_at.is_some_and(|at| at >= since);
        !self.verified && (self.connected || wave.started_at.is_some_and(was_there))
    }

    /// Whether it took the revision in this wave, and did not serve the same before.
    pub(super) fn moved_in(&self, wave: &Wave) -> bool {
        let later = |since| self.verified_at.is_some_and(|at| at + SKEW >= since);
        self.verified && wave.started_at.is_some_and(later)
    }
}
