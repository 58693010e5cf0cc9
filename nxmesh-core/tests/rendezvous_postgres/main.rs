//! Rendezvous in Postgres keeps the contract, and what is only its own: several servers on one
//! database.

#![cfg(all(feature = "postgres", feature = "rendezvous"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken;
mod figures;
mod names;
mod news;
mod opening;
mod servers;
mod sweeping;

use std::{sync::Arc, time::Duration};

use nxmesh_core::{
    conformance::{postgres::Database, rendezvous::given::Store},
    rendezvous::Durability,
    store::postgres::PostgresRendezvous,
};

/// How long anything may take before it counts as not coming.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store, and the database it is in.
async fn open() -> (PostgresRendezvous, Database) {
    let database = Database::create().await;
    let store = PostgresRendezvous::open(database.url(), Durability::Relaxed).await.unwrap();
    (store, database)
}

mod contract {
    nxmesh_core::rendezvous_conformance_tests!(crate::open);
}

/// A server's store, in a database.
async fn server(database: &Database) -> Store {
    Arc::new(PostgresRendezvous::open(database.url(), Durability::Relaxed).await.unwrap())
}

/// Two servers on one database.
async fn two_servers() -> ([Store; 2], Database) {
    let database = Database::create().await;
    ([server(&database).await, server(&database).await], database)
}
