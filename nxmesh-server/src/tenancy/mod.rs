//! `/v1/auth`, `/v1/organizations`, `/v1/workspaces`.

mod auth;
mod members;
mod organizations;
mod routes;
mod workspaces;

pub(crate) use self::routes::routes;
