use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::reference::{Facts, comparable, file_changes};
use crate::{
    Id, Revision, RevisionNumber,
    gateway::{AgentSpec, FileChange, Projection, Snapshot, Upstream, VirtualHost},
    tenancy::Settings,
};

/// A workspace as it was at a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionState {
    /// Who made it, when and why.
    #[serde(flatten)]
    pub revision: Revision,
    /// What held for the nginx of every agent.
    #[serde(default)]
    pub settings: Settings,
    /// What was served.
    pub virtual_hosts: Vec<VirtualHost>,
    /// What stood behind it.
    pub upstreams: Vec<Upstream>,
    /// What callers had decided of agents.
    pub agents: Vec<AgentSpec>,
}

/// What changed between two revisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionDiff {
    /// The first.
    pub from: RevisionNumber,
    /// The second.
    pub to: RevisionNumber,
    /// What changed, by object.
    pub objects: Vec<ObjectChange>,
    /// What changed in nginx's files, as rendered for a current nginx with all modules whose
    /// target every virtual host is.
    pub files: Vec<FileChange>,
}

/// How an object changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObjectChange {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ObjectKind,
    /// Which.
    pub id: Uuid,
    /// What it was; nothing when it was not there.
    pub before: Option<Value>,
    /// What it became; nothing when it was removed.
    pub after: Option<Value>,
}

/// The sorts of object in a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ObjectKind {
    /// What holds for the whole nginx of every agent.
    Settings,
    /// A virtual host.
    VirtualHost,
    /// An upstream.
    Upstream,
    /// An agent.
    Agent,
}

impl RevisionDiff {
    pub(in crate::gateway) fn of(before: &Snapshot, after: &Snapshot) -> Self {
        let mut objects = Vec::new();
        if before.settings() != after.settings() {
            objects.push(ObjectChange {
                kind: ObjectKind::Settings,
                id: *after.workspace_id().as_uuid(),
                before: json(before.settings().as_ref()),
                after: json(after.settings().as_ref()),
            });
        }
        let (hosts, upstreams) = (ObjectKind::VirtualHost, ObjectKind::Upstream);
        compare(hosts, before.virtual_hosts(), after.virtual_hosts(), &mut objects);
        compare(upstreams, before.upstreams(), after.upstreams(), &mut objects);
        compare(ObjectKind::Agent, before.agents(), after.agents(), &mut objects);
        Self { from: before.revision(), to: after.revision(), objects, files: files(before, after) }
    }
}

fn compare<I, T: Serialize + PartialEq>(
    kind: ObjectKind,
    before: &BTreeMap<Id<I>, Arc<T>>,
    after: &BTreeMap<Id<I>, Arc<T>>,
    objects: &mut Vec<ObjectChange>,
) {
    let gone = before.keys().filter(|id| !after.contains_key(id));
    for id in gone.chain(after.keys()) {
        let (one, other) = (before.get(id), after.get(id));
        if one != other {
            let show = |it: Option<&Arc<T>>| it.and_then(|it| json(it.as_ref()));
            let (before, after) = (show(one), show(other));
            objects.push(ObjectChange { kind, id: *id.as_uuid(), before, after });
        }
    }
}

pub(in crate::gateway) fn json(value: &impl Serialize) -> Option<Value> {
    // Our own types have no keys that JSON lacks.
    serde_json::to_value(value).ok()
}

fn files(before: &Snapshot, after: &Snapshot) -> Vec<FileChange> {
    file_changes(&text(before), &text(after))
}

/// All of a workspace as files, for an nginx that understands everything.
fn text(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let hosts = snapshot.virtual_hosts().iter().map(|(id, it)| (*id, Arc::clone(&it.spec)));
    let upstreams = snapshot.upstreams().iter().map(|(id, it)| (*id, Arc::clone(&it.spec)));
    let projection = Projection {
        virtual_hosts: hosts.collect(),
        upstreams: upstreams.collect(),
        certificates: BTreeMap::new(),
        settings: Arc::clone(snapshot.settings()),
    };
    comparable(&Arc::new(projection), &Facts::reference().nginx)
}
