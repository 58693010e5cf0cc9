//! Who asks.

use chrono::{DateTime, Utc};

use crate::tenancy::{ApiKeyId, OrganizationId, Role, UserId};

/// On whose behalf a call is made. Every operation takes one and checks what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    user_id: UserId,
    limit: Option<Limit>,
    request_id: Option<String>,
    expires_at: Option<DateTime<Utc>>,
}

/// What an API key can be used for, at most.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    api_key: ApiKeyId,
    organization: OrganizationId,
    role: Role,
}

impl Actor {
    /// A user.
    #[must_use]
    pub const fn user(user_id: UserId) -> Self {
        Self { user_id, limit: None, request_id: None, expires_at: None }
    }

    /// An API key: what its maker may do, but only in this organization and with this role
    /// at most.
    #[must_use]
    pub const fn key(
        api_key: ApiKeyId,
        maker: UserId,
        organization: OrganizationId,
        role: Role,
    ) -> Self {
        let limit = Some(Limit { api_key, organization, role });
        Self { user_id: maker, limit, request_id: None, expires_at: None }
    }

    /// As part of which request, for the audit log.
    #[must_use]
    pub fn in_request(self, id: impl Into<String>) -> Self {
        Self { request_id: Some(id.into()), ..self }
    }

    /// Until when, if not for ever: what goes on for longer ends then.
    #[must_use]
    pub fn until(self, end: Option<DateTime<Utc>>) -> Self {
        Self { expires_at: end, ..self }
    }

    /// Until when it can act, if not for ever.
    #[must_use]
    pub const fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// Which user acts, or made the API key that does.
    #[must_use]
    pub const fn user_id(&self) -> UserId {
        self.user_id
    }

    /// The API key that acts, if one does.
    #[must_use]
    pub fn api_key(&self) -> Option<ApiKeyId> {
        self.limit.as_ref().map(|it| it.api_key)
    }

    /// The request that this is part of.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The only organization that it can act in, if there is only one.
    pub(crate) fn only_in(&self) -> Option<OrganizationId> {
        self.limit.as_ref().map(|it| it.organization)
    }

    /// What is left of the user's role in an organization.
    pub(crate) fn role_in(&self, organization: OrganizationId, role: Role) -> Option<Role> {
        match &self.limit {
            None => Some(role),
            Some(limit) => (limit.organization == organization).then(|| role.min(limit.role)),
        }
    }
}
