//! The Postgres backend keeps the contracts, and what is only its own.

use nxmesh_core::{conformance::postgres::Database, store::postgres::PostgresStore};

/// A store, and the database it is in.
async fn open() -> (PostgresStore, Database) {
    let database = Database::create().await;
    (PostgresStore::open(database.url()).await.expect("it opens"), database)
}

nxmesh_core::store_conformance_tests!(crate::open);
