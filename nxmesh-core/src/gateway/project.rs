//! What one agent sees of a workspace.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    RevisionNumber,
    gateway::{
        AgentId, AgentSpec, ConfigUpdate, Labels, LocationTarget, Projection, Snapshot,
        TargetAgents, UpstreamId, VirtualHost, VirtualHostSpec,
        drift::DriftPolicy,
        rollout::{Members, RolloutMark},
    },
};

/// A workspace as it is handed to agents.
#[derive(Debug)]
pub(crate) struct Published {
    /// At its newest revision.
    pub(crate) snapshot: Arc<Snapshot>,
    newest: Arc<Served>,
    staged: Option<Arc<Staged>>,
}

/// Which revisions agents serve while delivery is staged.
#[derive(Debug)]
pub(crate) struct Staged {
    /// What all serve whom no rollout has reached.
    pub(super) released: Arc<Served>,
    /// What those serve whom the rollout under way has reached.
    pub(super) reached: Option<(Arc<Served>, Members)>,
    pub(super) mark: RolloutMark,
}

/// A revision that agents serve. Those who see the same share one update.
#[derive(Debug)]
pub(crate) struct Served {
    snapshot: Arc<Snapshot>,
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
    /// A workspace of which all agents serve the newest revision.
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self::staged(snapshot, None)
    }

    /// A workspace of which agents serve what is said, or else the newest revision.
    pub(crate) fn staged(snapshot: Arc<Snapshot>, staged: Option<Arc<Staged>>) -> Self {
        let newest = Arc::new(Served::new(Arc::clone(&snapshot)));
        Self { snapshot, newest, staged }
    }

    /// The same with another newest revision, which agents serve unless delivery is staged.
    pub(crate) fn moved(&self, snapshot: Arc<Snapshot>) -> Self {
        Self::staged(snapshot, self.staged.clone())
    }

    /// The same with agents on other revisions.
    pub(crate) fn with(&self, staged: Option<Arc<Staged>>) -> Self {
        let (snapshot, newest) = (Arc::clone(&self.snapshot), Arc::clone(&self.newest));
        Self { snapshot, newest, staged }
    }

    /// A revision that is at hand.
    pub(crate) fn served(&self, revision: RevisionNumber) -> Option<Arc<Served>> {
        let staged = self.staged.as_ref();
        let released = staged.map(|it| &it.released);
        let reached = staged.and_then(|it| it.reached.as_ref()).map(|it| &it.0);
        let at_hand = released.into_iter().chain(reached).chain([&self.newest]);
        at_hand.into_iter().find(|it| it.snapshot.revision() == revision).cloned()
    }

    /// The state of the rollouts that it shows; `None` while delivery is immediate.
    pub(crate) fn mark(&self) -> Option<RolloutMark> {
        self.staged.as_ref().map(|it| it.mark)
    }

    /// What this agent should serve; `None` when it does not belong here any more.
    pub(crate) fn update_for(&self, agent: AgentId) -> Option<Arc<ConfigUpdate>> {
        let agent = self.snapshot.agents().get(&agent)?;
        Some(self.serving(agent.id).update_for(agent))
    }

    fn serving(&self, agent: AgentId) -> &Served {
        let Some(staged) = &self.staged else { return &self.newest };
        match &staged.reached {
            Some((served, members)) if members.has(agent) => served,
            _ => &staged.released,
        }
    }
}

impl Served {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        let named = snapshot.virtual_hosts().values().flat_map(|host| match &host.target_agents {
            TargetAgents::Agents { agent_ids } => agent_ids.as_slice(),
            TargetAgents::All | TargetAgents::Selector { .. } => &[],
        });
        let named = named.copied().collect();
        Self { snapshot, named, updates: Mutex::default() }
    }

    /// What an agent serves of it that is as it is now, whatever it was then.
    pub(crate) fn update_for(&self, agent: &AgentSpec) -> Arc<ConfigUpdate> {
        let named = self.named.contains(&agent.id).then_some(agent.id);
        let view = View { labels: agent.labels.clone(), named, drift: agent.drift };
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        let update = updates.entry(view).or_insert_with(|| Arc::new(update(&self.snapshot, agent)));
        Arc::clone(update)
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
