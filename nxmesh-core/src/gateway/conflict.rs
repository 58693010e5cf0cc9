//! What must hold of a workspace, whichever change leads there: what virtual hosts name is
//! there, and no two of them meet on one agent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    Error, ErrorKind, FieldCode, FieldError, Path, Problems, Result,
    gateway::{
        AgentSpec, LocationTarget, ServerName, Snapshot, UpstreamId, VirtualHost, VirtualHostId,
        VirtualHostSpec,
        project::{hosts_on, users_of},
    },
};

/// Why a change is refused, and the object whose change that was.
pub(crate) struct Refusal {
    pub(crate) object: Uuid,
    pub(crate) error: Error,
}

/// Refuses a state to which these virtual hosts were written and from which these upstreams
/// were removed, for the first reason of [`refusals`].
pub(crate) fn check(after: &Snapshot, hosts: &[VirtualHostId], gone: &[UpstreamId]) -> Result<()> {
    let first = refusals(after, hosts, gone).into_iter().next();
    first.map_or(Ok(()), |refusal| Err(refusal.error))
}

/// All that is wrong with a state to which these virtual hosts were written and from which
/// these upstreams were removed: a virtual host names what is not there; an upstream that was
/// removed is in use; a virtual host meets another, on any agent, with the same port and name,
/// or with TLS on one and not on the other side of a port.
pub(crate) fn refusals(
    after: &Snapshot,
    hosts: &[VirtualHostId],
    gone: &[UpstreamId],
) -> Vec<Refusal> {
    let hosts: Vec<_> = hosts.iter().filter_map(|id| after.virtual_hosts().get(id)).collect();
    let mut found = Vec::new();
    for host in &hosts {
        if let Err(error) = check_references(after, &host.spec) {
            found.push(Refusal { object: *host.id.as_uuid(), error });
        }
    }
    for (id, users) in users_of(after, gone) {
        let message = format!("the upstream is in use by {}", users.join(", "));
        let error = Error::new(ErrorKind::Conflict, message);
        found.push(Refusal { object: *id.as_uuid(), error });
    }
    found.extend(meetings(after, &hosts));
    found
}

/// Refuses what names upstreams or certificates that the workspace does not have.
fn check_references(after: &Snapshot, spec: &VirtualHostSpec) -> Result<()> {
    let root = Path::root();
    let mut problems = Problems::default();
    if let Some(id) = spec.ssl_certificate_id {
        let message = format!("the workspace has no certificate with the id {id}");
        problems.add(&root.field("ssl_certificate_id"), FieldCode::NotFound, message);
    }
    let locations = root.field("locations");
    for (at, location) in spec.locations.iter().enumerate() {
        let LocationTarget::Upstream(id) = &location.target else { continue };
        if !after.upstreams().contains_key(id) {
            let message = format!("the workspace has no upstream with the id {id}");
            problems.add(&locations.index(at).field("upstream_id"), FieldCode::NotFound, message);
        }
    }
    problems.finish(())
}

/// Refuses a state in which any two virtual hosts meet so on this agent.
pub(crate) fn check_agent(after: &Snapshot, agent: &AgentSpec) -> Result<()> {
    let mut by_port: HashMap<u16, Vec<&Arc<VirtualHost>>> = HashMap::new();
    for host in hosts_on(after, agent) {
        let neighbours = by_port.entry(host.spec.listen_port).or_default();
        for other in neighbours.iter() {
            if Clash::of(host, other).is_some() {
                let message = format!(
                    "virtual hosts {} ({}) and {} ({}) would meet on this agent on port {}",
                    other.spec.name, other.id, host.spec.name, host.id, host.spec.listen_port
                );
                return Err(conflict("labels", message));
            }
        }
        neighbours.push(host);
    }
    Ok(())
}

/// With whom each of these virtual hosts meets first, if with any.
fn meetings(after: &Snapshot, hosts: &[&Arc<VirtualHost>]) -> Vec<Refusal> {
    let mut ports: HashMap<u16, Port<'_>> = HashMap::new();
    for host in hosts {
        ports.entry(host.spec.listen_port).or_default().add(host);
    }
    let mut places = Places::of(after);
    let mut found = BTreeMap::new();
    for other in after.virtual_hosts().values() {
        let Some(port) = ports.get(&other.spec.listen_port) else { continue };
        for host in port.neighbours(other) {
            if host.id == other.id || found.contains_key(&host.id) {
                continue;
            }
            let Some(clash) = Clash::of(host, other) else { continue };
            if let Some(agent) = places.shared(host, other) {
                found.insert(host.id, clash.error(other, agent));
            }
        }
    }
    found.into_iter().map(|(id, error)| Refusal { object: *id.as_uuid(), error }).collect()
}

/// The virtual hosts on one port.
#[derive(Default)]
struct Port<'a> {
    by_name: HashMap<&'a ServerName, Vec<&'a VirtualHost>>,
    with_tls: Vec<&'a VirtualHost>,
    without_tls: Vec<&'a VirtualHost>,
}

impl<'a> Port<'a> {
    fn add(&mut self, host: &'a VirtualHost) {
        for name in host.spec.server_name.iter() {
            self.by_name.entry(name).or_default().push(host);
        }
        match host.spec.ssl_enabled {
            true => self.with_tls.push(host),
            false => self.without_tls.push(host),
        }
    }

    /// Those that may clash with this one.
    fn neighbours<'b>(&'b self, of: &'b VirtualHost) -> impl Iterator<Item = &'a VirtualHost> + 'b {
        let unlike = if of.spec.ssl_enabled { &self.without_tls } else { &self.with_tls };
        let names = of.spec.server_name.iter();
        let alike = names.filter_map(|name| self.by_name.get(name)).flatten();
        alike.chain(unlike).copied()
    }
}

enum Clash {
    Name(ServerName),
    Tls,
}

impl Clash {
    fn of(host: &VirtualHost, other: &VirtualHost) -> Option<Self> {
        if host.spec.listen_port != other.spec.listen_port {
            return None;
        }
        // One socket either speaks TLS or does not, for all names on it.
        if host.spec.ssl_enabled != other.spec.ssl_enabled {
            return Some(Self::Tls);
        }
        let shared =
            host.spec.server_name.iter().find(|name| other.spec.server_name.contains(name));
        shared.map(|name| Self::Name(name.clone()))
    }

    fn error(self, other: &VirtualHost, agent: &AgentSpec) -> Error {
        let port = other.spec.listen_port;
        let place = format!("on agent {} ({})", agent.name, agent.id);
        let name = format!("virtual host {} ({})", other.spec.name, other.id);
        match self {
            Self::Name(shared) => {
                let message = format!("{name} already serves {shared} on port {port} {place}");
                conflict("server_name", message)
            }
            Self::Tls => {
                let message =
                    format!("{name} uses port {port} {place}: a port has TLS for all or for none");
                conflict("listen_port", message)
            }
        }
    }
}

/// Where virtual hosts are served. Each is looked at once: a thousand that have one name on a
/// thousand agents are a million pairs.
struct Places<'a> {
    agents: Vec<&'a Arc<AgentSpec>>,
    known: HashMap<VirtualHostId, Vec<u64>>,
}

impl<'a> Places<'a> {
    fn of(after: &'a Snapshot) -> Self {
        Self { agents: after.agents().values().collect(), known: HashMap::new() }
    }

    /// The first agent that serves both.
    fn shared(&mut self, host: &VirtualHost, other: &VirtualHost) -> Option<&'a Arc<AgentSpec>> {
        self.look(host);
        self.look(other);
        let (one, other) = (self.known.get(&host.id)?, self.known.get(&other.id)?);
        let words = one.iter().zip(other).map(|(one, other)| one & other).enumerate();
        let (at, word) = words.into_iter().find(|(_, word)| *word != 0)?;
        self.agents.get(at * 64 + word.trailing_zeros() as usize).copied()
    }

    fn look(&mut self, host: &VirtualHost) {
        let Self { agents, known } = self;
        known.entry(host.id).or_insert_with(|| {
            let serves =
                |agent: &Arc<AgentSpec>| host.target_agents.matches(agent.id, &agent.labels);
            let word = |part: &[&Arc<AgentSpec>]| {
                let bits = part.iter().enumerate();
                bits.fold(0, |word, (bit, agent)| word | u64::from(serves(agent)) << bit)
            };
            agents.chunks(64).map(word).collect()
        });
    }
}

fn conflict(field: &str, message: String) -> Error {
    let code = FieldCode::Duplicate;
    let fields = vec![FieldError { field: field.to_owned(), message, code }];
    Error::new(ErrorKind::Conflict, "two virtual hosts would meet on one agent").with_fields(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        Id, RevisionNumber, from_json,
        gateway::{AgentName, GatewayWrite, NewVirtualHost},
    };

    /// Name, port, TLS, and who is meant.
    type Host = (u8, u8, bool, u8);

    fn snapshot(agents: &[u8], hosts: &[Host]) -> Snapshot {
        let (workspace_id, now) = (Id::from_uuid(Uuid::nil()), DateTime::UNIX_EPOCH);
        let agents = agents.iter().enumerate().map(|(at, group)| {
            let id = Id::from_uuid(Uuid::from_u128(at as u128));
            let labels = BTreeMap::from([("group".to_owned(), group.to_string())]);
            let name = AgentName::parse(format!("agent-{at}")).unwrap();
            let (revision, drift) = (RevisionNumber(1), Default::default());
            let (created_at, updated_at) = (now, now);
            let spec = AgentSpec {
                id,
                workspace_id,
                name,
                labels,
                drift,
                revision,
                created_at,
                updated_at,
            };
            GatewayWrite::PutAgent(Arc::new(spec))
        });
        let hosts = hosts.iter().enumerate().map(|(at, (name, port, tls, meant))| {
            let target = match meant {
                0 => json!({"type": "all"}),
                1..=3 => json!({"type": "selector", "label_selector": format!("group={meant}")}),
                _ => json!({"type": "agents", "agent_ids": [Uuid::from_u128((*meant).into())]}),
            };
            let body = json!({
                "name": at.to_string(),
                "server_name": format!("n{name}.example n{}.example", name + 1),
                "listen_port": port + 1,
                "ssl_enabled": tls,
                "ssl_certificate_id": tls.then(Uuid::nil),
                "locations": [{"path": "/", "root": "/srv"}],
                "target_agents": target,
            });
            let (spec, target_agents) =
                from_json::<NewVirtualHost>(body).and_then(NewVirtualHost::parse).unwrap();
            GatewayWrite::PutVirtualHost(Arc::new(VirtualHost {
                id: Id::from_uuid(Uuid::from_u128(at as u128)),
                workspace_id,
                spec: Arc::new(spec),
                target_agents,
                revision: RevisionNumber(1),
                created_at: now,
                updated_at: now,
            }))
        });
        let mut snapshot = Snapshot::empty(workspace_id, Id::from_uuid(Uuid::nil()));
        snapshot.apply(RevisionNumber(1), agents.chain(hosts));
        snapshot
    }

    /// What is meant: each with each other on each agent.
    fn plainly(after: &Snapshot, host: &VirtualHost) -> Option<String> {
        after.virtual_hosts().values().filter(|other| other.id != host.id).find_map(|other| {
            let clash = Clash::of(host, other)?;
            let agent = after.agents().values().find(|agent| {
                host.target_agents.matches(agent.id, &agent.labels)
                    && other.target_agents.matches(agent.id, &agent.labels)
            })?;
            Some(clash.error(other, agent).to_string())
        })
    }

    proptest! {
        #[test]
        fn those_that_meet_are_found_as_by_looking_at_every_pair(
            agents in prop::collection::vec(0_u8..5, 0..70),
            hosts in prop::collection::vec((0_u8..6, 0_u8..2, any::<bool>(), 0_u8..8), 1..12),
        ) {
            let after = snapshot(&agents, &hosts);
            let all: Vec<_> = after.virtual_hosts().values().collect();
            let found: BTreeMap<_, _> = meetings(&after, &all)
                .into_iter()
                .map(|it| (it.object, it.error.to_string()))
                .collect();
            let expected = all.iter().filter_map(|host| {
                plainly(&after, host).map(|error| (*host.id.as_uuid(), error))
            });
            prop_assert_eq!(&found, &expected.collect());
            // One alone is judged as among many.
            for host in all {
                let alone = meetings(&after, &[host]).pop().map(|it| it.error.to_string());
                prop_assert_eq!(alone.as_ref(), found.get(host.id.as_uuid()));
            }
        }
    }
}
