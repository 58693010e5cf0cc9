//! Logging in, organizations, workspaces.

mod api_keys;
mod audit_log;
mod auth;
mod members;
mod organizations;
mod workspaces;

pub(crate) use self::auth::Tokens;
pub use self::{
    api_keys::{ApiKeys, CreatedApiKey},
    audit_log::AuditLog,
    auth::Auth,
    members::Members,
    organizations::Organizations,
    workspaces::Workspaces,
};
