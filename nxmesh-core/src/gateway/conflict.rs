//! Virtual hosts that would meet on one agent.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Error, ErrorKind, FieldCode, FieldError, Result,
    gateway::{AgentSpec, ServerName, Snapshot, VirtualHost, VirtualHostId, project::hosts_on},
};

/// Refuses a state in which this virtual host meets another, on any agent, with
/// the same port and name, or with TLS on one and not on the other side of a port.
pub(crate) fn check_host(after: &Snapshot, id: VirtualHostId) -> Result<()> {
    let Some(host) = after.virtual_hosts().get(&id) else { return Ok(()) };
    for other in after.virtual_hosts().values().filter(|other| other.id != id) {
        let Some(clash) = Clash::of(host, other) else { continue };
        if let Some(agent) = meeting_place(after, host, other) {
            return Err(clash.error(other, agent));
        }
    }
    Ok(())
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

fn meeting_place<'a>(
    after: &'a Snapshot,
    host: &VirtualHost,
    other: &VirtualHost,
) -> Option<&'a Arc<AgentSpec>> {
    let both = |agent: &&Arc<AgentSpec>| {
        host.target_agents.matches(agent.id, &agent.labels)
            && other.target_agents.matches(agent.id, &agent.labels)
    };
    after.agents().values().find(both)
}

fn conflict(field: &str, message: String) -> Error {
    let code = FieldCode::Duplicate;
    let fields = vec![FieldError { field: field.to_owned(), message, code }];
    Error::new(ErrorKind::Conflict, "two virtual hosts would meet on one agent").with_fields(fields)
}
