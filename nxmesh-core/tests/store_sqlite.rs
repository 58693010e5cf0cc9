//! The SQLite backend keeps the contracts, and what is only its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nxmesh_core::{
    ErrorKind,
    conformance::given,
    store::{Stores, sqlite::SqliteStore},
};

/// A store, and the folder it is in.
async fn open() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(folder.path().join("mesh.db")).await.unwrap(), folder)
}

nxmesh_core::store_conformance_tests!(crate::open);

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.db");
    let stores = Stores::from(SqliteStore::open(&path).await.unwrap());
    let (workspace, owner) = given::stored_workspace(&stores).await;
    drop(stores);
    let stores = Stores::from(SqliteStore::open(&path).await.unwrap());
    assert_eq!(stores.tenancy.workspace(workspace.id, owner).await.unwrap(), Some(workspace));
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.db");
    let _first = SqliteStore::open(&path).await.unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("another process has the database"));
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.db");
    drop(SqliteStore::open(&path).await.unwrap());
    let file = rusqlite::Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 999).unwrap();
    drop(file);
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("use a newer program"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_many_callers_share_commits_and_fail_alone() {
    let (store, _folder) = open().await;
    let stores = Stores::from(store);
    let taken = given::user("taken@example.com");
    stores
        .tenancy
        .commit(nxmesh_core::tenancy::TenancyChange::CreateUser(taken.clone()))
        .await
        .unwrap();
    let tries = (0..500).map(|number| {
        let email = if number % 5 == 0 {
            "taken@example.com".to_owned()
        } else {
            format!("user{number}@example.com")
        };
        stores.tenancy.commit(nxmesh_core::tenancy::TenancyChange::CreateUser(given::user(&email)))
    });
    let done = futures::future::join_all(tries).await;
    for (number, done) in done.into_iter().enumerate() {
        assert_eq!(done.is_err(), number % 5 == 0, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_else_holds_is_told_and_what_was_refused_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.db");
    let stores = Stores::from(SqliteStore::open(&path).await.unwrap());
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let user = given::user("a@b.c");
    let create = || nxmesh_core::tenancy::TenancyChange::CreateUser(user.clone());
    let error = stores.tenancy.commit(create()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(stores.tenancy.user(user.id).await.unwrap(), None);
    stores.tenancy.commit(create()).await.unwrap();
}
