//! Configurations as people see them: whole, and as differences.

mod agent_config;
mod aside;
mod reference;
mod revision_diff;

pub use self::{
    agent_config::AgentConfig,
    reference::RenderedFor,
    revision_diff::{ObjectChange, ObjectKind, RevisionDiff, RevisionState},
};
pub(super) use self::{
    aside::Aside,
    reference::{Facts, comparable, file_changes},
    revision_diff::json,
};
