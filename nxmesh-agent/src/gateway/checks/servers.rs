//! All servers that are asked, and what follows for their upstreams: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use nxmesh_core::gateway::{
    HealthCheck, Projection, ServerAddress, UpstreamId, UpstreamSpec,
    checks::{MAX_TOLD_SERVERS, ServerCheck, ServerChecks, ServerState},
    link::Severity,
};

use super::server::Server;
use crate::gateway::wanted::Rotation;

/// Names a server of an upstream.
pub(super) type Key = (UpstreamId, ServerAddress);

/// All servers that are asked.
#[derive(Debug, Default)]
pub(super) struct Servers {
    upstreams: BTreeMap<UpstreamId, Watched>,
    /// What was out of rotation before the agent was started, until it is known what is served.
    out_before: Rotation,
}

#[derive(Debug)]
struct Watched {
    spec: Arc<UpstreamSpec>,
    servers: BTreeMap<ServerAddress, Server>,
}

/// What people are told of a server that changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) severity: Severity,
    pub(super) message: String,
}

impl Servers {
    /// Nothing is asked yet; this was out of rotation before.
    pub(super) fn new(out_before: Rotation) -> Self {
        Self { out_before, ..Self::default() }
    }

    /// Asks the servers of this projection from now on, and no others. What is known of those
    /// that are still there is kept.
    pub(super) fn follow(&mut self, projection: &Projection, now: DateTime<Utc>) {
        let mut before = std::mem::take(&mut self.upstreams);
        let out_before = std::mem::take(&mut self.out_before);
        for (id, spec) in &projection.upstreams {
            if check_of(spec).is_none() {
                continue;
            }
            let mut known = before.remove(id).map(|it| it.servers).unwrap_or_default();
            let mut server = |address: &ServerAddress| {
                let was_out = out_before.contains(&(*id, address.as_str().to_owned()));
                let begin = || if was_out { Server::out(now) } else { Server::default() };
                (address.clone(), known.remove(address).unwrap_or_else(begin))
            };
            let servers = asked_of(spec).map(&mut server).collect();
            self.upstreams.insert(*id, Watched { spec: Arc::clone(spec), servers });
        }
    }

    /// The servers that are asked.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        let of = |(id, it): (&UpstreamId, &Watched)| {
            let id = *id;
            it.servers.keys().map(move |address| (id, address.clone())).collect::<Vec<_>>()
        };
        self.upstreams.iter().flat_map(of).collect()
    }

    /// How this server is asked; `None` when it is not, any more.
    pub(super) fn check(&self, (id, address): &Key) -> Option<&HealthCheck> {
        let watched = self.upstreams.get(id).filter(|it| it.servers.contains_key(address))?;
        check_of(&watched.spec)
    }

    /// Takes the outcome of a check; answers what is to be told, if the server changed.
    pub(super) fn note(
        &mut self,
        (id, address): &Key,
        outcome: Result<(), String>,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        let watched = self.upstreams.get_mut(id)?;
        let check = check_of(&watched.spec)?;
        let server = watched.servers.get_mut(address)?;
        let before = server.state;
        let state = server.note(outcome, check, now)?;
        let why = server.last_error.clone();
        let name = &watched.spec.name;
        let (severity, message) = match state {
            ServerState::Unhealthy if watched.is_lost() => (
                Severity::Error,
                format!(
                    "upstream server {address} of {name} is unhealthy: {why}; so are all others, and all stay in rotation"
                ),
            ),
            ServerState::Unhealthy => (
                Severity::Warning,
                format!("upstream server {address} of {name} is unhealthy: {why}"),
            ),
            ServerState::Healthy if before == ServerState::Unhealthy => {
                (Severity::Info, format!("upstream server {address} of {name} is healthy again"))
            }
            ServerState::Healthy | ServerState::Unknown => return None,
        };
        Some(Change { severity, message })
    }

    /// What should get no requests now.
    pub(super) fn rotation(&self) -> Rotation {
        let mut out = self.out_before.clone();
        for (id, watched) in self.upstreams.iter().filter(|(_, it)| !it.is_lost()) {
            let unhealthy =
                watched.servers.iter().filter(|(_, it)| it.state == ServerState::Unhealthy);
            out.extend(unhealthy.map(|(address, _)| (*id, address.as_str().to_owned())));
        }
        out
    }

    /// What is told of them: of too many those that are unhealthy first.
    pub(super) fn report(&self) -> ServerChecks {
        let of = |(id, watched): (&UpstreamId, &Watched)| {
            let id = *id;
            let check = move |(address, server): (&ServerAddress, &Server)| {
                let Server { state, since, last_error, failures, .. } = server.clone();
                ServerCheck {
                    upstream_id: id,
                    address: address.clone(),
                    state,
                    since,
                    last_error,
                    consecutive_failures: failures,
                }
            };
            watched.servers.iter().map(check).collect::<Vec<_>>()
        };
        let mut servers: Vec<_> = self.upstreams.iter().flat_map(of).collect();
        let total = u32::try_from(servers.len()).unwrap_or(u32::MAX);
        servers.sort_by_key(|it| it.state);
        servers.truncate(MAX_TOLD_SERVERS);
        ServerChecks { servers, total }
    }
}

impl Watched {
    /// Whether all servers are unhealthy. Then all stay in rotation: without any, nginx would
    /// refuse each request, and a server that fails its check may still answer some.
    fn is_lost(&self) -> bool {
        self.servers.values().all(|it| it.state == ServerState::Unhealthy)
    }
}

fn check_of(spec: &UpstreamSpec) -> Option<&HealthCheck> {
    spec.health_check.as_ref().filter(|it| it.enabled)
}

/// Those that take requests.
fn asked_of(spec: &UpstreamSpec) -> impl Iterator<Item = &ServerAddress> {
    spec.servers.iter().filter(|it| !it.down).map(|it| &it.address)
}

#[cfg(test)]
mod tests {
    use nxmesh_core::{conformance::given::id, from_json, gateway::NewUpstream};
    use serde_json::json;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn projection(id: UpstreamId, servers: &[&str], enabled: bool) -> Projection {
        let servers: Vec<_> = servers.iter().map(|it| json!({"address": it})).collect();
        let check = json!({"enabled": enabled, "healthy_threshold": 1, "unhealthy_threshold": 1});
        let new: NewUpstream =
            from_json(json!({"name": "shop", "servers": servers, "health_check": check})).unwrap();
        Projection {
            upstreams: [(id, Arc::new(new.parse().unwrap()))].into(),
            ..Projection::default()
        }
    }

    fn key(id: UpstreamId, address: &str) -> Key {
        (id, ServerAddress::parse(address).unwrap())
    }

    fn refused() -> Result<(), String> {
        Err("connection refused".to_owned())
    }

    fn out(servers: &Servers) -> Vec<String> {
        servers.rotation().into_iter().map(|(_, address)| address).collect()
    }

    #[test]
    fn changes_are_told_and_the_last_server_stays() {
        let shop = id();
        let mut servers = Servers::new(Rotation::default());
        servers.follow(&projection(shop, &["a:1", "b:1"], true), NOW);
        let mut note = |address, outcome| {
            let told = servers.note(&key(shop, address), outcome, NOW);
            (told.map(|it| (it.severity, it.message)), out(&servers))
        };
        assert_eq!(note("a:1", Ok(())), (None, vec![]), "it was never away");
        let message = "upstream server a:1 of shop is unhealthy: connection refused".to_owned();
        let told = Some((Severity::Warning, message));
        assert_eq!(note("a:1", refused()), (told, vec!["a:1".to_owned()]));
        let (told, left) = note("b:1", refused());
        let (severity, message) = told.unwrap();
        assert_eq!((severity, left), (Severity::Error, vec![]));
        assert!(message.ends_with("so are all others, and all stay in rotation"), "{message}");
        let told =
            Some((Severity::Info, "upstream server b:1 of shop is healthy again".to_owned()));
        assert_eq!(note("b:1", Ok(())), (told, vec!["a:1".to_owned()]));
        assert_eq!(note("gone:1", refused()), (None, vec!["a:1".to_owned()]));
    }

    #[test]
    fn what_is_known_survives_another_configuration_as_long_as_it_is_asked_for() {
        let shop = id();
        let mut servers = Servers::new(Rotation::default());
        servers.follow(&projection(shop, &["a:1", "b:1"], true), NOW);
        servers.note(&key(shop, "a:1"), refused(), NOW);
        servers.follow(&projection(shop, &["a:1", "c:1"], true), NOW);
        assert_eq!(out(&servers), ["a:1"]);
        assert_eq!(servers.keys(), [key(shop, "a:1"), key(shop, "c:1")].into());
        servers.follow(&projection(shop, &["a:1", "c:1"], false), NOW);
        assert!(out(&servers).is_empty() && servers.keys().is_empty(), "nobody is asked any more");
        servers.follow(&projection(shop, &["a:1", "c:1"], true), NOW);
        assert!(out(&servers).is_empty());
    }

    #[test]
    fn what_was_out_before_a_restart_stays_out_until_it_answers() {
        let shop = id();
        let before: Rotation = [(shop, "a:1".to_owned())].into();
        let mut servers = Servers::new(before);
        assert_eq!(out(&servers), ["a:1"], "even before it is known what is served");
        servers.follow(&projection(shop, &["a:1", "b:1"], true), NOW);
        assert_eq!(out(&servers), ["a:1"]);
        servers.note(&key(shop, "a:1"), Ok(()), NOW);
        assert!(out(&servers).is_empty());
    }

    #[test]
    fn of_too_many_servers_the_unhealthy_ones_are_told() {
        let mut servers = Servers::new(Rotation::default());
        let names: Vec<_> = (0..250).map(|it| format!("a{it}:80")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut all = Projection::default();
        for _ in 0..4 {
            all.upstreams.extend(projection(id(), &names, true).upstreams);
        }
        servers.follow(&all, NOW);
        assert_eq!(servers.report().servers.len(), MAX_TOLD_SERVERS);
        let last = id();
        all.upstreams.extend(projection(last, &["z:1"], true).upstreams);
        servers.follow(&all, NOW);
        servers.note(&key(last, "z:1"), refused(), NOW);
        let told = servers.report();
        assert_eq!((told.servers.len(), told.total), (MAX_TOLD_SERVERS, 1001));
        assert_eq!(told.servers[0].upstream_id, last);
    }
}
