use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    RevisionNumber,
    gateway::{ServedKind, VirtualHostId},
};

/// How many objects that are held back an agent tells of, and the control plane keeps.
pub const MAX_QUARANTINED: usize = 100;
/// How much is kept of what nginx says of one, in characters.
const MAX_ERROR: usize = 500;
/// How much is kept of the path of a field, in characters.
const MAX_FIELD: usize = 300;
/// How much is kept of a name, in characters.
const MAX_NAME: usize = 200;

/// An object that an agent holds back, because its nginx refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quarantined {
    /// Of which sort it is.
    pub kind: ServedKind,
    /// Which one.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Which of its fields nginx refuses: `locations[1].custom_directives.expires`; empty where
    /// nginx does not say.
    pub field: String,
    /// Why, in nginx's own words.
    pub error: String,
    /// What runs instead: the object as it was at this revision; nothing when it is left out.
    pub running_revision: Option<RevisionNumber>,
}

impl Quarantined {
    /// Whether both are of one object.
    pub(crate) fn is_same_object(&self, other: &Self) -> bool {
        (self.kind, self.id) == (other.kind, other.id)
    }

    /// The virtual host, if it is one.
    #[must_use]
    pub fn virtual_host(&self) -> Option<VirtualHostId> {
        (self.kind == ServedKind::VirtualHost).then(|| VirtualHostId::from_uuid(self.id))
    }

    /// As much of it as is kept.
    #[must_use]
    pub fn cut(mut self) -> Self {
        for (text, most) in
            [(&mut self.name, MAX_NAME), (&mut self.field, MAX_FIELD), (&mut self.error, MAX_ERROR)]
        {
            if let Some((end, _)) = text.char_indices().nth(most) {
                text.truncate(end);
            }
        }
        self
    }
}
