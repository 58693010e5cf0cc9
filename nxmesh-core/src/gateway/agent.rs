use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Id;

/// The id of an [`Agent`].
pub type AgentId = Id<Agent>;

/// Labels, by key, as Kubernetes has them.
pub type Labels = BTreeMap<String, String>;

/// A host beside nginx.
#[derive(Debug)]
pub struct Agent;

/// How an agent is deployed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentMode {
    /// A container beside nginx's.
    DockerSidecar,
    /// A container in nginx's pod.
    KubernetesSidecar,
    /// A process on a host.
    #[default]
    Standalone,
}
