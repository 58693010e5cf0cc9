//! Rendezvous in memory keeps the contract.

#![cfg(feature = "rendezvous")]

nxmesh_core::rendezvous_conformance_tests!(|| async {
    (nxmesh_core::store::memory::MemoryRendezvous::new(), ())
});
