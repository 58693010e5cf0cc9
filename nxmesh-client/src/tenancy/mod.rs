//! Logging in, organizations, workspaces.

mod auth;
mod organizations;
mod workspaces;

pub(crate) use self::auth::Tokens;
pub use self::{auth::Auth, organizations::Organizations, workspaces::Workspaces};
