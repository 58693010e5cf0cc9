use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ChangeAction, ServedKind};
use crate::{
    Revision,
    gateway::{Upstream, VirtualHost},
};

/// A change set that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppliedChanges {
    /// The revision that it made. When all was so already it made none, and this is the newest.
    pub revision: Revision,
    /// The objects as they became, in the order that was asked.
    pub changes: Vec<AppliedChange>,
}

/// One change that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppliedChange {
    /// What was done.
    pub action: ChangeAction,
    /// To what sort of object.
    #[serde(rename = "type")]
    pub kind: ServedKind,
    /// What the object was called within the set.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Which object.
    pub id: Uuid,
    /// The virtual host as it became, if it is one and was not deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<VirtualHost>,
    /// The upstream as it became, if it is one and was not deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
}
