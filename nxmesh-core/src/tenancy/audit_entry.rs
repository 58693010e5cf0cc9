use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Id,
    events::EventType,
    tenancy::{ApiKeyId, OrganizationId, UserId, WorkspaceId},
};

/// Names an entry of the audit log.
pub type AuditEntryId = Id<AuditEntry>;

/// Who did what to an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Which entry.
    pub id: AuditEntryId,
    /// In which organization.
    pub organization_id: OrganizationId,
    /// In which workspace, if in one.
    pub workspace_id: Option<WorkspaceId>,
    /// Who: a user, or who made the API key.
    pub user_id: UserId,
    /// The API key that was used, if one was.
    pub api_key_id: Option<ApiKeyId>,
    /// As part of which request.
    pub request_id: Option<String>,
    /// What was done, as the event says it: `virtual_host.updated`.
    pub action: EventType,
    /// To what.
    #[serde(flatten)]
    pub object: AuditedObject,
    /// When.
    pub created_at: DateTime<Utc>,
    /// What it was, secrets blanked: of an update only the fields that changed; nothing when
    /// it was not there.
    pub before: Option<Value>,
    /// What it became, in the same way; nothing when it was removed.
    pub after: Option<Value>,
}

/// What an entry of the audit log is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditedObject {
    /// The sort: `virtual_host`.
    pub object_type: String,
    /// Which.
    pub object_id: Uuid,
}

impl AuditedObject {
    /// This one.
    pub(crate) fn new<T>(object_type: &str, id: Id<T>) -> Self {
        Self { object_type: object_type.to_owned(), object_id: *id.as_uuid() }
    }
}

/// Which entries; what is not named may be any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFilter {
    /// By this user.
    pub user_id: Option<UserId>,
    /// This action.
    pub action: Option<EventType>,
    /// To this object.
    pub object_id: Option<Uuid>,
    /// Not before this time.
    pub from: Option<DateTime<Utc>>,
    /// Before this time.
    pub to: Option<DateTime<Utc>>,
}

impl AuditFilter {
    /// Whether an entry passes.
    #[must_use]
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        let Self { user_id, action, object_id, from, to } = self;
        user_id.is_none_or(|it| it == entry.user_id)
            && action.as_ref().is_none_or(|it| *it == entry.action)
            && object_id.is_none_or(|it| it == entry.object.object_id)
            && from.is_none_or(|it| entry.created_at >= it)
            && to.is_none_or(|it| entry.created_at < it)
    }
}
