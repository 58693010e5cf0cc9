//! The memory backend keeps the contracts.

nxmesh_core::store_conformance_tests!(|| async {
    (nxmesh_core::store::memory::MemoryStore::new(), ())
});
