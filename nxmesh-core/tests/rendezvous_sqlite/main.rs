//! Rendezvous in SQLite keeps the contract, and what is only its own: a file.

#![cfg(all(feature = "rendezvous", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod figures;
mod reopening;

use std::{path::Path, sync::Arc};

use nxmesh_core::{
    conformance::rendezvous::given::Store, rendezvous::Durability, store::sqlite::SqliteRendezvous,
};
use tempfile::TempDir;

/// A store, and the folder it is in.
async fn open() -> (SqliteRendezvous, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    (SqliteRendezvous::open(path, Durability::Durable).await.unwrap(), folder)
}

mod contract {
    nxmesh_core::rendezvous_conformance_tests!(crate::open);
}

/// The store in this file.
async fn at(path: &Path) -> Store {
    Arc::new(SqliteRendezvous::open(path, Durability::Relaxed).await.unwrap())
}
