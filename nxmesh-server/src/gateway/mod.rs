//! `/v1/agents`, `/v1/virtual-hosts`, `/v1/upstreams`, and the service that agents dial.

mod agents;
mod changes;
mod grpc;
mod revisions;
mod rollouts;
mod routes;
mod upstreams;
mod virtual_hosts;

pub use self::grpc::grpc;
pub(crate) use self::routes::routes;
