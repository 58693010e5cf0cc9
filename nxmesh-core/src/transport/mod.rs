//! The backends of the transport contract, [`link`](crate::gateway::link).

#[cfg(feature = "grpc")]
pub mod grpc;
pub mod in_process;

mod failover;

pub use self::failover::Failover;
