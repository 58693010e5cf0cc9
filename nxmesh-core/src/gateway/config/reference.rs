//! Rendering away from agents: for what is known of their nginx, in a place that stands for
//! theirs.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::{
    RevisionNumber,
    gateway::{
        AgentStatus, ConfigUpdate, FileChange, Projection,
        nginx::{NginxFacts, NginxVersion, Place, Rendered, render},
    },
};

/// The nginx that files were rendered for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenderedFor {
    /// Its version.
    pub version: String,
    /// What matters of what it was built with.
    pub modules: Vec<String>,
    /// Whether its host has IPv6.
    pub ipv6: bool,
    /// Whether the agent reported it. If not, it never connected, and this is a current nginx
    /// with all modules.
    pub reported: bool,
}

/// What is known of an agent's nginx.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::gateway) struct Facts {
    pub(in crate::gateway) nginx: NginxFacts,
    reported: bool,
}

impl Facts {
    /// What an agent reported, or else what stands for it.
    pub(in crate::gateway) fn of(status: &AgentStatus) -> Self {
        match NginxFacts::reported(&status.nginx_version, &status.capabilities) {
            Some(nginx) => Self { nginx, reported: true },
            None => Self::reference(),
        }
    }

    /// A current nginx with all modules.
    pub(in crate::gateway) fn reference() -> Self {
        let modules =
            ["http_v2_module", "http_v3_module", "http_ssl_module", "http_stub_status_module"];
        let build = modules.map(str::to_owned).into();
        let nginx = NginxFacts { version: NginxVersion(1, 28, 0), build, ipv6: true };
        Self { nginx, reported: false }
    }

    pub(in crate::gateway) fn show(&self) -> RenderedFor {
        let Self { nginx: NginxFacts { version, build, ipv6 }, reported } = self;
        RenderedFor {
            version: version.to_string(),
            modules: build.iter().cloned().collect(),
            ipv6: *ipv6,
            reported: *reported,
        }
    }
}

/// The files of an update. The paths that an agent chooses are written from its state folder.
pub(super) fn files_of(update: &ConfigUpdate, nginx: &NginxFacts) -> Rendered {
    let place = Place {
        status_socket: PathBuf::from("run/status.sock"),
        pid_file: PathBuf::from("run/nginx.pid"),
        error_log: PathBuf::from("logs/error.log"),
        failed_log: PathBuf::from("run/failed.log"),
        temp_dir: PathBuf::from("tmp"),
        user: None,
        worker_connections: 1024,
    };
    render(update, nginx, &place)
}

/// The files of a projection, to be compared: version and checksum, which nginx answers, are
/// left blank.
pub(in crate::gateway) fn comparable(
    projection: &Arc<Projection>,
    nginx: &NginxFacts,
) -> BTreeMap<String, String> {
    let update = ConfigUpdate {
        config_id: String::new(),
        version: RevisionNumber::default(),
        checksum: String::new(),
        projection: Arc::clone(projection),
        drift: Default::default(),
    };
    // Secrets are in no difference.
    let Rendered { files, secrets: _ } = files_of(&update, nginx);
    files
}

/// The files that differ, in order of their paths.
pub(in crate::gateway) fn file_changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<FileChange> {
    let paths = before.keys().chain(after.keys().filter(|it| !before.contains_key(*it)));
    let changed = paths.filter(|path| before.get(*path) != after.get(*path));
    let change = |path: &String| {
        let side = |files: &BTreeMap<String, String>| files.get(path).cloned().unwrap_or_default();
        let (old, new) = (side(before), side(after));
        let diff = TextDiff::from_lines(&old, &new).unified_diff().header(path, path).to_string();
        FileChange { path: path.clone(), diff }
    };
    let mut files: Vec<_> = changed.map(change).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}
