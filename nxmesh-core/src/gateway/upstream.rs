use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Id, RevisionNumber, tenancy::WorkspaceId};

/// The id of an [`Upstream`].
pub type UpstreamId = Id<Upstream>;

/// A group of servers that share the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Never changes.
    pub id: UpstreamId,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// What it does.
    #[serde(flatten)]
    pub spec: Arc<UpstreamSpec>,
    /// The revision that last changed it.
    #[serde(default)]
    pub revision: RevisionNumber,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}
