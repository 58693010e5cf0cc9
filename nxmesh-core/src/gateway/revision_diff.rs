use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use similar::TextDiff;
use uuid::Uuid;

use crate::{
    Id, Revision, RevisionNumber,
    gateway::{
        AgentSpec, ConfigUpdate, Projection, Snapshot, Upstream, VirtualHost,
        nginx::{NginxFacts, NginxVersion, Place, render},
    },
};

/// A workspace as it was at a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RevisionState {
    /// Who made it, when and why.
    #[serde(flatten)]
    pub revision: Revision,
    /// What was served.
    pub virtual_hosts: Vec<VirtualHost>,
    /// What stood behind it.
    pub upstreams: Vec<Upstream>,
    /// What callers had decided of agents.
    pub agents: Vec<AgentSpec>,
}

/// What changed between two revisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
pub struct ObjectChange {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ObjectKind,
    /// Which.
    pub id: Uuid,
    /// What it was; `None` when it was not there.
    pub before: Option<Value>,
    /// What it became; `None` when it was removed.
    pub after: Option<Value>,
}

/// The sorts of object in a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// How a file changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path from the folder of the configuration.
    pub path: String,
    /// A unified diff.
    pub diff: String,
}

impl RevisionDiff {
    pub(crate) fn of(before: &Snapshot, after: &Snapshot) -> Self {
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

fn json(value: &impl Serialize) -> Option<Value> {
    // Our own types have no keys that JSON lacks.
    serde_json::to_value(value).ok()
}

fn files(before: &Snapshot, after: &Snapshot) -> Vec<FileChange> {
    let (before, after) = (text(before), text(after));
    let paths = before.keys().chain(after.keys().filter(|it| !before.contains_key(*it)));
    let changed = paths.filter(|path| before.get(*path) != after.get(*path));
    let change = |path: &String| {
        let side = |files: &BTreeMap<String, String>| files.get(path).cloned().unwrap_or_default();
        let (old, new) = (side(&before), side(&after));
        let diff = TextDiff::from_lines(&old, &new).unified_diff().header(path, path).to_string();
        FileChange { path: path.clone(), diff }
    };
    let mut files: Vec<_> = changed.map(change).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
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
    let update = ConfigUpdate {
        // The same on both sides: only what they serve is compared.
        config_id: String::new(),
        version: RevisionNumber::default(),
        checksum: String::new(),
        projection: Arc::new(projection),
    };
    let modules =
        ["http_v2_module", "http_v3_module", "http_ssl_module", "http_stub_status_module"];
    let nginx = NginxFacts {
        version: NginxVersion(1, 28, 0),
        build: modules.map(str::to_owned).into(),
        ipv6: true,
    };
    let place = Place {
        status_socket: PathBuf::from("run/status.sock"),
        pid_file: PathBuf::from("run/nginx.pid"),
        error_log: PathBuf::from("logs/error.log"),
        temp_dir: PathBuf::from("tmp"),
        user: None,
        worker_connections: 1024,
    };
    render(&update, &nginx, &place).files
}
