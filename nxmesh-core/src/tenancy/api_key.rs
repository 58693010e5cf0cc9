use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Id,
    tenancy::{OrganizationId, OrganizationName, Role, UserId},
};

/// The id of an [`ApiKey`].
pub type ApiKeyId = Id<ApiKey>;

/// What a program logs in with. Worth at most what its maker may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Never changes.
    pub id: ApiKeyId,
    /// Where it can be used.
    pub organization_id: OrganizationId,
    /// What people call it.
    pub name: OrganizationName,
    /// What it may do at most.
    pub role: Role,
    /// Who made it.
    pub user_id: UserId,
    /// Until when it works; `None` until it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}
