use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Id, RevisionNumber, gateway::TargetAgents, tenancy::WorkspaceId};

/// The id of a [`VirtualHost`].
pub type VirtualHostId = Id<VirtualHost>;

/// A name on a port, and what is served there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualHost {
    /// Never changes.
    pub id: VirtualHostId,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// What nginx does for it.
    #[serde(flatten)]
    pub spec: Arc<VirtualHostSpec>,
    /// On which agents.
    #[serde(default)]
    pub target_agents: TargetAgents,
    /// The revision that last changed it.
    #[serde(default)]
    pub revision: RevisionNumber,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}
