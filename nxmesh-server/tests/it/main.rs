//! The REST API over real sockets, with both stores.

mod agents;
mod auth;
mod envelope;
mod given;
mod organizations;
mod upstreams;
mod virtual_hosts;
mod workspaces;
