use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Id, Path, Problems, Result, clock,
    tenancy::{OrganizationId, OrganizationName, Role, UserId},
};

/// The id of an [`ApiKey`].
pub type ApiKeyId = Id<ApiKey>;

/// What a program logs in with. It is worth what its maker may do in the organization, and
/// no more than its own role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    /// Until when it works; without it, until it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a caller writes to make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewApiKey {
    /// See [`ApiKey::organization_id`].
    pub organization_id: OrganizationId,
    /// See [`ApiKey::name`].
    #[cfg_attr(feature = "openapi", schema(value_type = OrganizationName))]
    pub name: String,
    /// See [`ApiKey::role`]: at most the caller's own.
    pub role: Role,
    /// See [`ApiKey::expires_at`].
    #[serde(default, deserialize_with = "clock::exact")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewApiKey {
    pub(crate) fn parse_name(&self) -> Result<OrganizationName> {
        let mut problems = Problems::default();
        let name = OrganizationName::parse(self.name.clone());
        let name = problems.take(&Path::root().field("name"), name);
        problems.finish_with(name)
    }
}
