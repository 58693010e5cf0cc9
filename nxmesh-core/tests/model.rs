//! All backends answer alike, whatever is done to them.

use nxmesh_core::{
    conformance::{model::play, postgres::Database},
    store::{Stores, memory::MemoryStore, postgres::PostgresStore, sqlite::SqliteStore},
};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_changes_are_answered_alike_by_all_backends() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let sqlite = SqliteStore::open(folder.path().join("mesh.db")).await.unwrap();
    let postgres = PostgresStore::open(database.url()).await.unwrap();
    let backends = [
        ("memory", Stores::from(MemoryStore::new())),
        ("SQLite", Stores::from(sqlite)),
        ("Postgres", Stores::from(postgres)),
    ];
    let seed = rand::random();
    println!("seed {seed}");
    let made = play(&backends, seed, 10_000).await;
    println!("{made} changes were made, {} were refused", 10_000 - made);
    assert!((2_000..9_000).contains(&made), "changes hardly meet");
}
