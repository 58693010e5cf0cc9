//! Rendezvous in SQLite keeps the contract.

#![cfg(all(feature = "rendezvous", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nxmesh_core::{rendezvous::Durability, store::sqlite::SqliteRendezvous};
use tempfile::TempDir;

/// A store, and the folder it is in.
async fn open() -> (SqliteRendezvous, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    (SqliteRendezvous::open(path, Durability::Durable).await.unwrap(), folder)
}

nxmesh_core::rendezvous_conformance_tests!(crate::open);
