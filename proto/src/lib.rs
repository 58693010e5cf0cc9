//! The wire protocol between the NxMesh control plane and its agents.
//!
//! Generated from `nxmesh/agent/v1/agent.proto` and committed, so that nobody
//! who builds this needs a protobuf compiler; a test generates it again and
//! compares. Field numbers below 100 are the published contract, numbers from
//! 100 up are additions.

/// Package `nxmesh.agent.v1`.
pub mod agent {
    #[expect(missing_docs, reason = "generated code")]
    pub mod v1 {
        include!("generated/nxmesh.agent.v1.rs");
    }
}
