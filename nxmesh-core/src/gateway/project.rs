//! What one agent sees of a workspace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::gateway::{
    AgentId, AgentSpec, ConfigUpdate, Labels, LocationTarget, Projection, Snapshot, TargetAgents,
    UpstreamId, VirtualHost, VirtualHostSpec, drift::DriftPolicy,
};

/// A snapshot that is handed to agents. Those who see the same share one update.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) snapshot: Arc<Snapshot>,
    named: BTreeSet<AgentId>,
    updates: Mutex<HashMap<View, Arc<ConfigUpdate>>>,
}

/// Agents with equal views see the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct View {
    labels: Labels,
    named: Option<AgentId>,
    drift: DriftPolicy,
}

impl Published {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        let named = snapshot.virtual_hosts().values().flat_map(|host| match &host.target_agents {
            TargetAgents::Agents { agent_ids } => agent_ids.as_slice(),
            TargetAgents::All | TargetAgents::Selector { .. } => &[],
        });
        let named = named.copied().collect();
        Self { snapshot, named, updates: Mutex::default() }
    }

    /// What this agent should serve; `None` when it does not belong here any more.
    pub(crate) fn update_for(&self, agent: AgentId) -> Option<Arc<ConfigUpdate>> {
        let agent = self.snapshot.agents().get(&agent)?;
        let named = self.named.contains(&agent.id).then_some(agent.id);
        let view = View { labels: agent.labels.clone(), named, drift: agent.drift };
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        let update = updates.entry(view).or_insert_with(|| Arc::new(update(&self.snapshot, agent)));
        Some(Arc::clone(update))
    }
}

/// The part of a snapshot that one agent serves, named by its content.
pub(crate) fn update(snapshot: &Snapshot, agent: &AgentSpec) -> ConfigUpdate {
    let mut projection =
        Projection { settings: Arc::clone(snapshot.settings()), ..Projection::default() };
    let mut content = blake3::Hasher::new();
    content.update(&snapshot.digest_of(snapshot.workspace_id().as_uuid()));
    let meant = |host: &&Arc<VirtualHost>| host.target_agents.matches(agent.id, &agent.labels);
    for host in snapshot.virtual_hosts().values().filter(meant) {
        content.update(host.id.as_uuid().as_bytes()).update(&snapshot.digest_of(host.id.as_uuid()));
        projection.virtual_hosts.insert(host.id, Arc::clone(&host.spec));
    }
    let used: BTreeSet<_> =
        projection.virtual_hosts.values().flat_map(|host| upstreams_of(host)).collect();
    for id in used {
        let Some(upstream) = snapshot.upstreams().get(&id) else { continue };
        content.update(id.as_uuid().as_bytes()).update(&snapshot.digest_of(id.as_uuid()));
        projection.upstreams.insert(id, Arc::clone(&upstream.spec));
    }
    let checksum = content.finalize().to_hex().to_string();
    let version = snapshot.revision();
    let config_id = ConfigUpdate::id(version, &checksum);
    let drift = agent.drift;
    ConfigUpdate { config_id, version, checksum, projection: Arc::new(projection), drift }
}

fn upstreams_of(host: &VirtualHostSpec) -> impl Iterator<Item = UpstreamId> {
    host.locations.iter().filter_map(|location| match &location.target {
        LocationTarget::Upstream(id) => Some(*id),
        LocationTarget::Proxy(_) | LocationTarget::Files { .. } => None,
    })
}

/// The virtual hosts that an agent serves.
pub(crate) fn hosts_on<'a>(
    snapshot: &'a Snapshot,
    agent: &'a AgentSpec,
) -> impl Iterator<Item = &'a Arc<VirtualHost>> {
    let hosts = snapshot.virtual_hosts().values();
    hosts.filter(|host| host.target_agents.matches(agent.id, &agent.labels))
}

/// The virtual hosts that use any of these upstreams, as a person would call them.
pub(crate) fn users_of(
    snapshot: &Snapshot,
    ids: &[UpstreamId],
) -> BTreeMap<UpstreamId, Vec<String>> {
    let mut users: BTreeMap<_, Vec<_>> = BTreeMap::new();
    if ids.is_empty() {
        return users;
    }
    let ids: BTreeSet<_> = ids.iter().copied().collect();
    for host in snapshot.virtual_hosts().values() {
        for id in upstreams_of(&host.spec).collect::<BTreeSet<_>>().intersection(&ids) {
            let name = format!("virtual host {} ({})", host.spec.name, host.id);
            users.entry(*id).or_default().push(name);
        }
    }
    users
}
