//! The Postgres backend keeps the contracts, and what is only its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use nxmesh_core::{
    Actor, ErrorKind, Mesh, PageRequest, Secret,
    conformance::{
        self, given,
        model::play,
        postgres::{Cluster, Database, Durability},
    },
    gateway::{NewLocation, NewVirtualHost},
    store::{
        Stores,
        postgres::{PostgresOptions, PostgresStore},
    },
    tenancy::{NewOrganization, NewWorkspace, Role, WorkspaceId},
};

/// A store, and the database it is in.
async fn open() -> (PostgresStore, Database) {
    let database = Database::create().await;
    (PostgresStore::open(database.url()).await.unwrap(), database)
}

nxmesh_core::store_conformance_tests!(crate::open);

#[tokio::test]
async fn what_was_answered_is_there_after_opening_again() {
    let (store, database) = open().await;
    let stores = Stores::from(store);
    let (workspace, owner) = given::stored_workspace(&stores).await;
    drop(stores);
    let stores = Stores::from(PostgresStore::open(database.url()).await.unwrap());
    assert_eq!(
        stores.tenancy.workspace(workspace.id, owner).await.unwrap(),
        Some((workspace, Role::Owner))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_together_bring_the_schema_up_to_date_once() {
    let database = Database::create().await;
    let opened = (0..8).map(|_| PostgresStore::open(database.url()));
    let stores = futures::future::try_join_all(opened).await.unwrap();
    let stores: Vec<_> = stores.into_iter().map(Stores::from).collect();
    let (workspace, owner) = given::stored_workspace(&stores[0]).await;
    for stores in &stores {
        let found = stores.tenancy.workspace(workspace.id, owner).await.unwrap();
        assert_eq!(found, Some((workspace.clone(), Role::Owner)));
    }
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let (store, database) = open().await;
    drop(store);
    database.run("INSERT INTO schema_version (version) VALUES (999)").await;
    let error = PostgresStore::open(database.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("use a newer program"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_without_the_password() {
    let cases = [
        ("not a url", ErrorKind::Invalid),
        ("postgres://me:s3cret@db.example/x", ErrorKind::Invalid),
        ("postgres://me:s3cret@127.0.0.1:1/x", ErrorKind::Unavailable),
        ("postgres://me:s3cret@db.example/x?sslmode=prefer", ErrorKind::Invalid),
        ("postgres://me:s3cret@127.0.0.1:1/x?sslmode=nonsense", ErrorKind::Invalid),
    ];
    for (url, kind) in cases {
        let error = PostgresStore::open(url).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_connections_wait_their_turn() {
    let database = Database::create().await;
    let mut options = PostgresOptions::default();
    options.max_connections = 2;
    let stores = Stores::from(PostgresStore::open_with(database.url(), options).await.unwrap());
    let (workspace, owner) = given::stored_workspace(&stores).await;
    let reads = (0..500).map(|_| stores.tenancy.workspace(workspace.id, owner));
    let found = futures::future::try_join_all(reads).await.unwrap();
    assert!(found.iter().all(|it| it.as_ref().is_some_and(|it| it.0 == workspace)));
    assert!(database.connections().await <= 4, "two, one to listen, one to look");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_is_told_at_once_and_what_was_under_way_is_void() {
    let mut cluster = Cluster::start(Durability::Relaxed);
    let database = Database::create_on(cluster.url("postgres")).await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    let mesh = Mesh::builder().store(store).build().await.unwrap();
    let (actor, workspace) = given_workspace(&mesh).await;
    let hosts = mesh.gateway().virtual_hosts();
    let create = |number| hosts.create(&actor, workspace, host(number));
    create(0).await.unwrap();

    cluster.stop();
    let refused = futures::future::join_all((1..=64).map(create)).await;
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("the database"), "{error}");
    }
    assert_eq!(mesh.ready().await.unwrap_err().kind(), ErrorKind::Unavailable);
    cluster.restart();
    let began = Instant::now();
    while let Err(error) = mesh.ready().await {
        assert!(began.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nothing remembers what was refused: the same names are free.
    for made in futures::future::join_all((1..=64).map(create)).await {
        made.unwrap();
    }
    let page = hosts.list(&actor, workspace, PageRequest::new(1, 100).unwrap()).await.unwrap();
    assert_eq!(page.meta.total, 65);
    mesh.shutdown().await;
}

/// Somebody, and a workspace of theirs.
async fn given_workspace(mesh: &Mesh) -> (Actor, WorkspaceId) {
    let users = mesh.tenancy().users();
    let user = users.create("a@example.com", Secret::random_password()).await.unwrap();
    let actor = Actor::user(user.id);
    let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = mesh.tenancy().organizations().create(&actor, new).await.unwrap();
    let new =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    let workspaces = mesh.tenancy().workspaces();
    let workspace = workspaces.create(&actor, organization.id, new).await.unwrap();
    (actor, workspace.id)
}

/// As when a replica takes over that had not seen the last changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_back_is_followed() {
    let (store, database) = open().await;
    let mesh = Mesh::builder().store(store).build().await.unwrap();
    let (actor, workspace) = given_workspace(&mesh).await;
    let hosts = mesh.gateway().virtual_hosts();
    for number in 0..3 {
        hosts.create(&actor, workspace, host(number)).await.unwrap();
    }
    database.run("DELETE FROM revisions WHERE number > 1").await;
    database.run("DELETE FROM writes WHERE number > 1").await;
    database.run("DELETE FROM virtual_hosts WHERE body NOT LIKE '%host0%'").await;
    database.run("UPDATE workspaces SET head = 1").await;
    let made = hosts.create(&actor, workspace, host(1)).await.unwrap();
    assert_eq!(made.revision.0, 2);
    mesh.shutdown().await;
}

fn host(number: usize) -> NewVirtualHost {
    let location =
        NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
    let name = format!("host{number}.example");
    NewVirtualHost {
        name: name.clone(),
        server_name: name,
        listen_port: 80,
        locations: vec![location],
        ..NewVirtualHost::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_restored_has_everything() {
    let (store, database) = open().await;
    let stores = Stores::from(store);
    let (workspace, owner) = given::stored_workspace(&stores).await;
    play(&[("Postgres", stores.clone())], 3, 500).await;
    let before = stores.gateway.snapshot(workspace.id).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("nxmesh.dump");
    let restored = Database::create().await;
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        let ended = command.args(args).args(["--file", dump.to_str().unwrap()]).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    run("pg_dump", &["--no-owner", "--dbname", &libpq(database.url())]);
    run("psql", &["--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", &libpq(restored.url())]);
    let stores = Stores::from(PostgresStore::open(restored.url()).await.unwrap());
    let found = stores.tenancy.workspace(workspace.id, owner).await.unwrap();
    assert_eq!(found, Some((workspace.clone(), Role::Owner)));
    let after = stores.gateway.snapshot(workspace.id).await.unwrap();
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
}

/// The URL without what only this crate's library knows.
fn libpq(url: &str) -> String {
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let known =
        parameters.split('&').filter(|it| it.starts_with("host=") || it.starts_with("port="));
    format!("{server}?{}", known.collect::<Vec<_>>().join("&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_leave_no_more_rows_than_are_kept() {
    let (store, database) = open().await;
    conformance::history::a_thousand_changes_of_which_a_hundred_are_kept(&Stores::from(store))
        .await;
    let (revisions, writes) = (database.rows("revisions").await, database.rows("writes").await);
    conformance::history::rows_are_those_that_are_kept(revisions, writes);
}
