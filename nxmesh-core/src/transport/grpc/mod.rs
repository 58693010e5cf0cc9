//! gRPC, both halves: the service to mount, and how agents dial it.

mod checks;
mod config;
mod connector;
mod drift;
mod kept;
mod service;
mod wire;

pub use self::{
    connector::GrpcConnector,
    kept::{decode_update, encode_update},
    service::{AgentServiceServer, Service, agent_service},
};

/// The largest message either side takes: a configuration with some ten thousand
/// virtual hosts. A larger one ends the stream with `RESOURCE_EXHAUSTED`.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
