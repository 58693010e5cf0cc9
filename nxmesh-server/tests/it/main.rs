//! The REST API over real sockets, with both stores.

#![expect(
    clippy::unwrap_used,
    clippy::future_not_send,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails"
)]

mod access;
mod agents;
mod api_keys;
mod audit_log;
mod auth;
mod changes;
mod convergence;
mod drift;
mod envelope;
mod events;
mod fuzz;
mod given;
mod grpc;
mod idempotency;
mod limits;
mod logins;
mod metrics;
mod openapi;
mod organizations;
mod previews;
mod quarantine;
#[cfg(feature = "rendezvous")]
mod rendezvous;
mod revisions;
mod rollouts;
mod upstreams;
mod virtual_hosts;
mod workspaces;
