//! Logging in, organizations, workspaces.

mod auth;
mod members;
mod organizations;
mod workspaces;

pub(crate) use self::auth::Tokens;
pub use self::{
    auth::Auth, members::Members, organizations::Organizations, workspaces::Workspaces,
};
