//! Several changes as one: as callers write them, as they are made, and what they would do.

mod applied;
mod edit;
mod new;
mod preview;

pub use self::{
    applied::{AppliedChange, AppliedChanges},
    new::{ChangeAction, NewChange, NewChangeSet, ServedKind},
    preview::{AgentDiff, ChangePreview, FileChange},
};
pub(super) use self::{
    edit::{Change, ChangeSet, Edit, ServedEdit},
    preview::agent_diffs,
};
