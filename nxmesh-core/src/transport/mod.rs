//! The backends of the transport contract, [`link`](crate::gateway::link).

#[cfg(feature = "grpc")]
pub mod grpc;
pub mod in_process;
