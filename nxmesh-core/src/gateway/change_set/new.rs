use serde::{Deserialize, Serialize};

use crate::{
    ETag, Id, MergePatch,
    gateway::{NewUpstream, NewVirtualHost, ObjectKind, UpstreamId, VirtualHostId},
};

/// What stands before the name of an upstream within a set, where else its id stands.
pub(super) const REF: &str = "ref:";

/// Several changes of what a workspace serves, to be made as one revision or not at all.
///
/// Their order does not matter: what is checked is what comes of all of them together.
///
/// ```
/// use nxmesh_core::{
///     MergePatch,
///     gateway::{NewChangeSet, NewUpstream, NewVirtualHost},
/// };
/// use serde_json::json;
///
/// let upstream: NewUpstream =
///     serde_json::from_value(json!({"name": "api", "servers": [{"address": "10.0.0.1:80"}]}))?;
/// let host: NewVirtualHost = serde_json::from_value(json!({
///     "name": "api", "server_name": "api.example.com", "listen_port": 80,
///     "locations": [{"path": "/", "upstream_id": NewChangeSet::upstream_ref("api")}],
/// }))?;
/// let set = NewChangeSet::new("serve the API")
///     .create_virtual_host(&host)
///     .create_upstream_as("api", &upstream);
/// assert_eq!(set.changes.len(), 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewChangeSet {
    /// Why, for whoever reads the revisions: 1 to 500 characters, not blank, no control
    /// characters.
    pub message: String,
    /// The changes, 1 to 1000; each object at most once.
    pub changes: Vec<NewChange>,
}

/// One change of a set, as a caller writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewChange {
    /// What is done.
    pub action: ChangeAction,
    /// To what sort of object.
    #[serde(rename = "type")]
    pub kind: ServedKind,
    /// What an upstream that is created is called within the set: 1 to 63 letters, digits, `.`,
    /// `_`, `-`. Virtual hosts of the set name it `ref:NAME` where else the id of an upstream
    /// stands.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The object that is updated or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Only if the object is still in the state with this entity tag, which stands in quotes
    /// as in the header `If-Match`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// What is created, whole; of an update, a merge patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub body: Option<MergePatch>,
}

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ChangeAction {
    /// Makes an object.
    Create,
    /// Changes what the body names.
    Update,
    /// Removes an object.
    Delete,
}

/// What sets can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ServedKind {
    /// A virtual host.
    VirtualHost,
    /// An upstream.
    Upstream,
}

impl NewChangeSet {
    /// How many changes a set may have.
    pub const MAX_CHANGES: usize = 1000;
    /// How many characters its message may have.
    pub const MAX_MESSAGE: usize = 500;

    /// A set without changes yet.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), changes: Vec::new() }
    }

    /// What stands for an upstream that the set creates, where else its id would stand.
    #[must_use]
    pub fn upstream_ref(name: &str) -> String {
        format!("{REF}{name}")
    }

    /// Makes a virtual host.
    #[must_use]
    pub fn create_virtual_host(self, new: &NewVirtualHost) -> Self {
        self.with(NewChange {
            body: Some(whole(new)),
            ..NewChange::of(ChangeAction::Create, ServedKind::VirtualHost)
        })
    }

    /// Makes an upstream.
    #[must_use]
    pub fn create_upstream(self, new: &NewUpstream) -> Self {
        self.with(NewChange {
            body: Some(whole(new)),
            ..NewChange::of(ChangeAction::Create, ServedKind::Upstream)
        })
    }

    /// Makes an upstream that virtual hosts of the set use by this name, as
    /// [`upstream_ref`](Self::upstream_ref) writes it.
    #[must_use]
    pub fn create_upstream_as(self, name: impl Into<String>, new: &NewUpstream) -> Self {
        self.with(NewChange {
            reference: Some(name.into()),
            body: Some(whole(new)),
            ..NewChange::of(ChangeAction::Create, ServedKind::Upstream)
        })
    }

    /// Changes what the patch names of a virtual host, if it is still in the state with this
    /// tag, where there is one.
    #[must_use]
    pub fn update_virtual_host(
        self,
        id: VirtualHostId,
        tag: Option<&ETag>,
        patch: &MergePatch,
    ) -> Self {
        let change = NewChange::to(ChangeAction::Update, ServedKind::VirtualHost, id, tag);
        self.with(NewChange { body: Some(patch.clone()), ..change })
    }

    /// Changes what the patch names of an upstream, if it is still in the state with this tag,
    /// where there is one.
    #[must_use]
    pub fn update_upstream(self, id: UpstreamId, tag: Option<&ETag>, patch: &MergePatch) -> Self {
        let change = NewChange::to(ChangeAction::Update, ServedKind::Upstream, id, tag);
        self.with(NewChange { body: Some(patch.clone()), ..change })
    }

    /// Removes a virtual host, if it is still in the state with this tag, where there is one.
    #[must_use]
    pub fn delete_virtual_host(self, id: VirtualHostId, tag: Option<&ETag>) -> Self {
        self.with(NewChange::to(ChangeAction::Delete, ServedKind::VirtualHost, id, tag))
    }

    /// Removes an upstream, if it is still in the state with this tag, where there is one.
    #[must_use]
    pub fn delete_upstream(self, id: UpstreamId, tag: Option<&ETag>) -> Self {
        self.with(NewChange::to(ChangeAction::Delete, ServedKind::Upstream, id, tag))
    }

    fn with(mut self, change: NewChange) -> Self {
        self.changes.push(change);
        self
    }
}

impl NewChange {
    /// How many characters the name of an upstream within a set may have.
    pub const MAX_REF: usize = 63;

    fn of(action: ChangeAction, kind: ServedKind) -> Self {
        Self { action, kind, reference: None, id: None, if_match: None, body: None }
    }

    fn to<T>(action: ChangeAction, kind: ServedKind, id: Id<T>, tag: Option<&ETag>) -> Self {
        let (id, if_match) = (Some(id.to_string()), tag.map(ToString::to_string));
        Self { id, if_match, ..Self::of(action, kind) }
    }
}

/// The bodies of this area are objects, without keys that JSON lacks.
fn whole(body: &impl Serialize) -> MergePatch {
    MergePatch::new(body).unwrap_or_default()
}

impl From<ServedKind> for ObjectKind {
    fn from(kind: ServedKind) -> Self {
        match kind {
            ServedKind::VirtualHost => Self::VirtualHost,
            ServedKind::Upstream => Self::Upstream,
        }
    }
}
