//! Everything moves from one database to another, or nothing does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use nxmesh_core::{
    ErrorKind, RevisionNumber, TokenHash,
    conformance::{given, model::play, postgres::Database},
    store::{Archive, Stores, postgres::PostgresStore, sqlite::SqliteStore, transfer},
    tenancy::{RefreshToken, Role, TenancyChange},
};
use uuid::Uuid;

async fn sqlite(path: impl AsRef<Path>) -> SqliteStore {
    SqliteStore::open(path).await.unwrap()
}

async fn postgres(database: &Database) -> PostgresStore {
    PostgresStore::open(database.url()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_to_postgres_and_back() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let paths = ["from.db", "back.db"].map(|it| folder.path().join(it));
    let stores = Stores::from(sqlite(&paths[0]).await);
    let (workspace, owner) = given::stored_workspace(&stores).await;
    play(&[("SQLite", stores.clone())], 7, 3000).await;
    let key = given::api_key(workspace.organization_id, owner, "key", 0);
    let create = TenancyChange::CreateApiKey { key, hash: TokenHash::of("key") };
    stores.tenancy.commit(create, nxmesh_core::Trail::default()).await.unwrap();
    let token = RefreshToken {
        hash: TokenHash::of("token"),
        family: Uuid::nil(),
        user_id: owner,
        expires_at: given::at(1000),
        used: true,
    };
    stores
        .tenancy
        .commit(TenancyChange::AddRefreshToken(token.clone()), nxmesh_core::Trail::default())
        .await
        .unwrap();
    let rollout = given::rollout(workspace.id, 3);
    let trail = nxmesh_core::Trail::default();
    assert!(stores.gateway.put_rollout(&rollout, trail).await.unwrap());
    let snapshot = stores.gateway.snapshot(workspace.id).await.unwrap();
    drop(stores);
    let from = Archive::from(sqlite(&paths[0]).await);
    let to = Archive::from(postgres(&database).await);
    let there = transfer(&from, &to).await.unwrap();
    assert!(there.iter().all(|(table, rows)| *rows > 0 || *table == "signing_keys"), "{there:?}");
    let stores = Stores::from(postgres(&database).await);
    let moved = stores.tenancy.workspace(workspace.id, owner).await.unwrap();
    assert_eq!(moved, Some((workspace.clone(), Role::Owner)));
    let moved = stores.tenancy.refresh_token(&token.hash).await.unwrap();
    assert_eq!(moved, Some(token));
    let moved = stores.gateway.rollout(rollout.id).await.unwrap();
    assert_eq!(moved, Some(rollout));
    let there_too = stores.gateway.snapshot(workspace.id).await.unwrap();
    assert_eq!(format!("{there_too:?}"), format!("{snapshot:?}"));
    // And it goes on from there.
    let change = given::change(workspace.id, 0, Vec::new());
    stores.gateway.commit(change).await.unwrap();
    let from = Archive::from(postgres(&database).await);
    let to = Archive::from(sqlite(&paths[1]).await);
    let mut back = transfer(&from, &to).await.unwrap();
    back.iter_mut().filter(|(table, _)| *table == "revisions").for_each(|(_, rows)| *rows -= 1);
    assert_eq!(back, there);
    drop(to);
    let stores = Stores::from(sqlite(&paths[1]).await);
    let head = stores.tenancy.workspace_head(workspace.id).await.unwrap();
    assert_eq!(head, Some(RevisionNumber(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_empty_is_refused_and_stays_as_it_is() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let path = folder.path().join("mesh.db");
    let there = Stores::from(postgres(&database).await);
    let (workspace, owner) = given::stored_workspace(&there).await;
    let here = Stores::from(sqlite(&path).await);
    given::stored_user(&here, "another@example.com").await;
    drop(here);
    let one = || async { Archive::from(sqlite(&path).await) };
    let other = || async { Archive::from(postgres(&database).await) };
    for (from, to) in [(one().await, other().await)] {
        let error = transfer(&from, &to).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("the target is not empty"), "{error}");
    }
    let error = transfer(&other().await, &one().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        there.tenancy.workspace(workspace.id, owner).await.unwrap(),
        Some((workspace, Role::Owner))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_damaged_leaves_the_target_empty() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let path = folder.path().join("mesh.db");
    let stores = Stores::from(sqlite(&path).await);
    let (workspace, _) = given::stored_workspace(&stores).await;
    drop(stores);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE workspaces SET head = 0.5", []).unwrap();
    drop(file);
    let from = Archive::from(sqlite(&path).await);
    let to = Archive::from(postgres(&database).await);
    let error = transfer(&from, &to).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("head of workspaces"), "{error}");
    let stores = Stores::from(postgres(&database).await);
    assert!(!stores.tenancy.has_users().await.unwrap());
    assert_eq!(stores.tenancy.workspace_head(workspace.id).await.unwrap(), None);
}
