//! Opening, and who may.

use nxmesh_core::{
    ErrorKind,
    conformance::{
        postgres::Database,
        rendezvous::given::{HERE, made, ok},
    },
    rendezvous::Durability,
    store::postgres::{PostgresRendezvous, PostgresStore},
};

use crate::server;

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_together_bring_the_schema_up_to_date_once() {
    let database = Database::create().await;
    let opened = (0..8).map(|_| server(&database));
    let stores = futures::future::join_all(opened).await;
    made(&stores[0], "ann", "one", &["t"]).await;
    for store in &stores {
        assert_eq!(ok(store.count(&HERE).await), 1);
    }
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let (store, database) = crate::open().await;
    drop(store);
    database.run("INSERT INTO rendezvous_version (version) VALUES (999)").await;
    let opened = PostgresRendezvous::open(database.url(), Durability::Durable).await;
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("use a newer program"), "{error}");
}

#[tokio::test]
async fn it_shares_a_database_with_the_store() {
    let database = Database::create().await;
    PostgresStore::open(database.url()).await.unwrap();
    let store = server(&database).await;
    made(&store, "ann", "one", &["t"]).await;
    PostgresStore::open(database.url()).await.unwrap();
    assert_eq!(ok(server(&database).await.count(&HERE).await), 1);
}

#[tokio::test]
async fn a_url_that_leaves_passwords_open_to_read_is_refused() {
    let url = "postgres://me:s3cret@db.example/x";
    let error = PostgresRendezvous::open(url, Durability::Durable).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}
