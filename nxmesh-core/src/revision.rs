//! Revisions: the numbered states of a workspace.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::tenancy::{UserId, WorkspaceId};

/// The number of a state of a workspace. A new workspace is at 0, and each
/// change that may matter to an agent counts one further.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionNumber(pub u64);

impl RevisionNumber {
    /// The largest there can be: databases count in 63 bits.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for RevisionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One state of a workspace: who made it, when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Revision {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Which state.
    pub number: RevisionNumber,
    /// Who made it.
    pub author: UserId,
    /// What was done: `create virtual host api`.
    pub reason: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}
