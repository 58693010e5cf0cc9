//! `/v1/auth`, `/v1/organizations`, `/v1/workspaces`.

mod api_keys;
mod audit_log;
mod auth;
mod members;
mod organizations;
mod routes;
mod workspaces;

pub(crate) use self::{auth::jwks, routes::routes};
