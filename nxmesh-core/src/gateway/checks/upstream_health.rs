//! How the servers of an upstream are, as the agents find them: pure.

use std::{cmp::Reverse, collections::HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::gateway::{
    AgentId, AgentRecord, AgentState, ServerAddress, UpstreamId, UpstreamSpec,
    checks::{ServerCheck, ServerState},
};

/// How many agents are shown with each server; all are counted.
pub const MAX_SHOWN_AGENTS: usize = 100;

/// How the servers of an upstream are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpstreamHealth {
    /// In the order of the upstream.
    pub servers: Vec<ServerHealth>,
}

/// How one server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerHealth {
    /// Where it is.
    pub address: ServerAddress,
    /// For how many agents it is healthy.
    pub healthy: u32,
    /// For how many it is unhealthy.
    pub unhealthy: u32,
    /// How many do not know.
    pub unknown: u32,
    /// The agents that have the upstream: first those for which the server is unhealthy, then
    /// those that do not know; 100 at most.
    pub agents: Vec<AgentCheck>,
}

/// How a server is for one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentCheck {
    /// Which agent.
    pub agent_id: AgentId,
    /// How the server is; unknown while the agent is away.
    pub state: ServerState,
    /// Since when; null when it is not known.
    pub since: Option<DateTime<Utc>>,
    /// Why the last check failed; null when it did not.
    pub last_error: Option<String>,
    /// How many checks in a row failed.
    pub consecutive_failures: u32,
}

impl UpstreamHealth {
    /// What is known when nobody was asked yet.
    pub(crate) fn unknown(upstream: &UpstreamSpec) -> Self {
        let server = |address: &ServerAddress| ServerHealth {
            address: address.clone(),
            healthy: 0,
            unhealthy: 0,
            unknown: 0,
            agents: Vec::new(),
        };
        Self { servers: upstream.servers.iter().map(|it| server(&it.address)).collect() }
    }

    /// Adds what an agent, which has the upstream with this id, says of it. Whoever was unheard of
    /// since `alive_since` counts as gone.
    pub(crate) fn note(&mut self, id: UpstreamId, agent: &AgentRecord, alive_since: DateTime<Utc>) {
        let away = agent.status.state(alive_since) == AgentState::Offline;
        let told = agent.status.checks.servers.iter().filter(|it| !away && it.upstream_id == id);
        let told: HashMap<_, _> = told.map(|it| (&it.address, it)).collect();
        for server in &mut self.servers {
            let found = told.get(&server.address).copied();
            server.note(AgentCheck::new(agent.spec.id, found));
        }
    }
}

impl ServerHealth {
    fn note(&mut self, check: AgentCheck) {
        let count = match check.state {
            ServerState::Healthy => &mut self.healthy,
            ServerState::Unhealthy => &mut self.unhealthy,
            ServerState::Unknown => &mut self.unknown,
        };
        *count += 1;
        let place = |it: &AgentCheck| (it.state, Reverse(it.consecutive_failures), it.agent_id);
        let at = self.agents.partition_point(|it| place(it) < place(&check));
        self.agents.insert(at, check);
        self.agents.truncate(MAX_SHOWN_AGENTS);
    }
}

impl AgentCheck {
    fn new(agent_id: AgentId, found: Option<&ServerCheck>) -> Self {
        let Some(found) = found else {
            return Self {
                agent_id,
                state: ServerState::Unknown,
                since: None,
                last_error: None,
                consecutive_failures: 0,
            };
        };
        let ServerCheck { upstream_id: _, address: _, state, since, last_error, .. } = found;
        Self {
            agent_id,
            state: *state,
            since: *since,
            last_error: Some(last_error.clone()).filter(|it| !it.is_empty()),
            consecutive_failures: found.consecutive_failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        Id, RevisionNumber, from_json,
        gateway::{AgentName, AgentSpec, AgentStatus, NewUpstream, checks::ServerChecks},
    };

    fn agent(number: u128, state: Option<ServerState>, failures: u32, alive: bool) -> AgentRecord {
        let now = DateTime::UNIX_EPOCH;
        let spec = AgentSpec {
            drift: Default::default(),
            id: Id::from_uuid(Uuid::from_u128(number)),
            workspace_id: Id::from_uuid(Uuid::nil()),
            name: AgentName::parse("a").unwrap(),
            labels: Default::default(),
            revision: RevisionNumber(1),
            created_at: now,
            updated_at: now,
        };
        let check = |state| ServerCheck {
            upstream_id: Id::from_uuid(Uuid::nil()),
            address: ServerAddress::parse("a:1").unwrap(),
            state,
            since: Some(now),
            last_error: String::new(),
            consecutive_failures: failures,
        };
        let checks = ServerChecks { servers: state.map(check).into_iter().collect(), total: 1 };
        let last_seen_at = Some(now);
        let status = AgentStatus { connected: alive, last_seen_at, checks, ..Default::default() };
        AgentRecord { spec, status, session: None }
    }

    #[test]
    fn the_worst_come_first_and_those_away_do_not_know() {
        use ServerState::{Healthy, Unhealthy, Unknown};
        let upstream: NewUpstream =
            from_json(json!({"name": "u", "servers": [{"address": "a:1"}, {"address": "b:1"}]}))
                .unwrap();
        let mut health = UpstreamHealth::unknown(&upstream.parse().unwrap());
        let mut note = |number, state, failures, alive| {
            let agent = agent(number, state, failures, alive);
            health.note(Id::from_uuid(Uuid::nil()), &agent, DateTime::UNIX_EPOCH);
        };
        note(1, Some(Healthy), 0, true);
        note(2, Some(Unhealthy), 3, false);
        note(3, Some(Unhealthy), 3, true);
        note(4, None, 0, true);
        note(5, Some(Unhealthy), 9, true);
        for number in 6..MAX_SHOWN_AGENTS as u128 + 6 {
            note(number, Some(Healthy), 0, true);
        }
        let [first, second] = &health.servers[..] else { panic!("two servers") };
        assert_eq!((first.healthy, first.unhealthy, first.unknown), (101, 2, 2));
        assert_eq!(first.agents.len(), MAX_SHOWN_AGENTS);
        let shown: Vec<_> =
            first.agents.iter().map(|it| (it.agent_id.as_uuid().as_u128(), it.state)).collect();
        let expected = [
            (5, Unhealthy),
            (3, Unhealthy),
            (2, Unknown),
            (4, Unknown),
            (1, Healthy),
            (6, Healthy),
        ];
        assert_eq!(shown[..6], expected);
        assert_eq!(second.unknown, 105, "nobody told of it");
    }
}
