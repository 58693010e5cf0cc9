//! What active health checks say, and what follows for an upstream: pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::gateway::{
    Projection, ServerAddress, UpstreamId, UpstreamServer, UpstreamSpec, VirtualHostId,
};

/// Of how many servers an agent tells what its checks found; those that are unhealthy come first.
pub const MAX_TOLD_SERVERS: usize = 1000;
/// Of how many virtual hosts an agent counts failed answers.
pub const MAX_COUNTED_HOSTS: usize = 1000;
/// How much of the reason of a failed check is kept, in characters.
pub const MAX_CHECK_ERROR: usize = 200;

/// How a server of an upstream is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ServerState {
    /// It failed its last checks, as many in a row as make it unhealthy.
    Unhealthy,
    /// It is not checked, or was not checked yet, or the agent is away.
    #[default]
    Unknown,
    /// It answers.
    Healthy,
}

/// What an agent found of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCheck {
    /// Whose server.
    pub upstream_id: UpstreamId,
    /// Which one.
    pub address: ServerAddress,
    /// How it is.
    pub state: ServerState,
    /// Since when; `None` when it was never asked.
    pub since: Option<DateTime<Utc>>,
    /// Why the last check failed; empty when it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// How many checks in a row failed.
    #[serde(default)]
    pub consecutive_failures: u32,
}

/// What an agent found of all servers that it checks.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerChecks {
    /// At most [`MAX_TOLD_SERVERS`].
    pub servers: Vec<ServerCheck>,
    /// How many are checked.
    pub total: u32,
}

/// What an agent's nginx answered since the agent was started.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// All requests, those of the agent itself left out; 0 where nginx was built without its
    /// counters.
    pub requests: u64,
    /// Those answered with a status of 500 or above.
    pub failed: u64,
    /// The same by virtual host: those that failed at all, at most [`MAX_COUNTED_HOSTS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_by_virtual_host: BTreeMap<VirtualHostId, u64>,
}

/// The servers that take no requests because their checks fail.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rotation(BTreeMap<UpstreamId, BTreeSet<ServerAddress>>);

impl Rotation {
    /// What is out of an upstream whose servers are as `state` says. Where all that take requests
    /// are unhealthy nothing is out: nginx would refuse each request, and a server that fails its
    /// check may still answer some.
    pub fn of(
        upstream: &UpstreamSpec,
        state: impl Fn(&ServerAddress) -> ServerState,
    ) -> BTreeSet<ServerAddress> {
        let taking = || upstream.servers.iter().filter(|it| !it.down);
        let unhealthy = |it: &&UpstreamServer| state(&it.address) == ServerState::Unhealthy;
        if taking().all(|it| unhealthy(&it)) {
            return BTreeSet::new();
        }
        taking().filter(unhealthy).map(|it| it.address.clone()).collect()
    }

    /// Takes these servers of an upstream out, and no others.
    pub fn set(&mut self, id: UpstreamId, out: BTreeSet<ServerAddress>) {
        match out.is_empty() {
            true => self.0.remove(&id),
            false => self.0.insert(id, out),
        };
    }

    /// Whether nothing is out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many servers are out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether this server is out.
    #[must_use]
    pub fn has(&self, id: UpstreamId, address: &ServerAddress) -> bool {
        self.0.get(&id).is_some_and(|it| it.contains(address))
    }

    /// What is out of the upstreams of this projection: the same rotation for what is rendered,
    /// whatever else is known.
    #[must_use]
    pub fn within(&self, projection: &Projection) -> Self {
        let there = |(id, out): (&UpstreamId, &BTreeSet<ServerAddress>)| {
            let servers = &projection.upstreams.get(id)?.servers;
            let out = servers.iter().map(|it| &it.address).filter(|it| out.contains(*it));
            let out: BTreeSet<_> = out.cloned().collect();
            (!out.is_empty()).then_some((*id, out))
        };
        Self(self.0.iter().filter_map(there).collect())
    }

    /// The projection with the servers that are out marked as down.
    #[must_use]
    pub fn apply(&self, projection: &Projection) -> Projection {
        let mut applied = projection.clone();
        for (id, out) in &self.0 {
            let Some(upstream) = applied.upstreams.get_mut(id) else { continue };
            let mut changed = upstream.as_ref().clone();
            for server in changed.servers.iter_mut().filter(|it| out.contains(&it.address)) {
                server.down = true;
            }
            *upstream = changed.into();
        }
        applied
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Id, from_json, gateway::NewUpstream};

    fn upstream() -> UpstreamSpec {
        let upstream: NewUpstream = from_json(json!({
            "name": "shop",
            "servers": [{"address": "a:1"}, {"address": "b:1", "backup": true}, {"address": "c:1", "down": true}],
        }))
        .unwrap();
        upstream.parse().unwrap()
    }

    fn out(unhealthy: &[&str]) -> Vec<String> {
        let state = |address: &ServerAddress| match unhealthy.contains(&address.as_str()) {
            true => ServerState::Unhealthy,
            false => ServerState::Unknown,
        };
        Rotation::of(&upstream(), state).into_iter().map(Into::into).collect()
    }

    #[test]
    fn what_is_unhealthy_is_out_unless_nothing_would_be_left() {
        assert_eq!(out(&["a:1"]), ["a:1"], "the backup steps in");
        assert_eq!(out(&["b:1"]), ["b:1"]);
        assert!(out(&["a:1", "b:1"]).is_empty(), "all that take requests are unhealthy");
        assert!(out(&[]).is_empty());
    }

    #[test]
    fn servers_that_are_out_are_down_in_what_is_served() {
        let id = Id::from_uuid(uuid::Uuid::from_u128(7));
        let projection =
            Projection { upstreams: [(id, upstream().into())].into(), ..Projection::default() };
        let mut rotation = Rotation::default();
        rotation.set(id, ["a:1", "gone:1"].map(|it| ServerAddress::parse(it).unwrap()).into());
        let down = |projection: &Projection| -> Vec<_> {
            projection.upstreams[&id].servers.iter().map(|it| it.down).collect()
        };
        assert_eq!(down(&rotation.apply(&projection)), [true, false, true]);
        assert_eq!((rotation.len(), rotation.within(&projection).len()), (2, 1));
        assert!(rotation.within(&Projection::default()).is_empty());
        rotation.set(id, BTreeSet::new());
        assert_eq!(rotation.apply(&projection), projection);
    }
}
