use nxmesh_core::{
    Mesh,
    transport::grpc::{AgentServiceServer, agent_service},
};

/// The service that agents dial, to be mounted on a tonic server.
#[must_use]
pub fn grpc(mesh: &Mesh) -> AgentServiceServer<nxmesh_core::transport::grpc::Service> {
    agent_service(mesh.gateway().clone())
}
