use serde::{Deserialize, Serialize};

use crate::tenancy::{Email, Role, UserId};

/// Somebody in an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// What they log in with.
    pub email: Email,
    /// What they may do.
    pub role: Role,
}

/// What a caller writes to add somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewMember {
    /// See [`Member::email`]: of a user who is there already.
    #[cfg_attr(feature = "openapi", schema(value_type = Email))]
    pub email: String,
    /// See [`Member::role`].
    pub role: Role,
}

/// What a caller may change of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberPatch {
    /// See [`Member::role`].
    pub role: Role,
}
