//! The SQLite backend keeps the contracts, and what is only its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nxmesh_core::{
    Actor, ErrorKind, ManualClock, Mesh, PageRequest, Retention, RevisionNumber, Secret,
    conformance::given,
    gateway::{AgentId, GatewayWrite},
    store::{Stores, sqlite::SqliteStore},
    tenancy::{MasterKey, Role},
};
use serde_json::{Value, json};

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
    assert_eq!(
        stores.tenancy.workspace(workspace.id, owner).await.unwrap(),
        Some((workspace, Role::Owner))
    );
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
        .commit(
            nxmesh_core::tenancy::TenancyChange::CreateUser(taken.clone()),
            nxmesh_core::Trail::default(),
        )
        .await
        .unwrap();
    let tries = (0..500).map(|number| {
        let email = if number % 5 == 0 {
            "taken@example.com".to_owned()
        } else {
            format!("user{number}@example.com")
        };
        stores.tenancy.commit(
            nxmesh_core::tenancy::TenancyChange::CreateUser(given::user(&email)),
            nxmesh_core::Trail::default(),
        )
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
    let error = stores.tenancy.commit(create(), nxmesh_core::Trail::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(stores.tenancy.user(user.id).await.unwrap(), None);
    stores.tenancy.commit(create(), nxmesh_core::Trail::default()).await.unwrap();
}

/// What was stored by the program when the schema had version 1, and what it answered then.
#[tokio::test]
async fn a_file_of_the_first_version_opens_with_all_that_is_in_it() {
    let upgrade = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade");
    let answers = std::fs::read_to_string(upgrade.join("schema_1.json")).unwrap();
    let answers: Value = serde_json::from_str(&answers).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.db");
    std::fs::copy(upgrade.join("schema_1.db"), &path).unwrap();
    let then = "2026-11-21T07:40:00Z".parse().unwrap();
    // Twice: what was upgraded opens again.
    for first in [true, false] {
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let mesh = Mesh::builder()
            .store(SqliteStore::open(&path).await.unwrap())
            .master_key(MasterKey::parse(key).unwrap())
            .clock(ManualClock::new(then))
            .build()
            .await
            .unwrap();
        let auth = mesh.tenancy().auth();
        let password = Secret::new("correct horse battery".to_owned());
        let login = auth.login("admin@example.com", password).await.unwrap();
        let actor = auth.authenticate(login.access_token.expose()).await.unwrap();
        let now = everything(&mesh, &actor, &answers).await;
        assert_eq!(without_additions(now, &answers), answers);
        let refreshed = auth.refresh(answers["refresh_token"].as_str().unwrap()).await;
        assert_eq!(refreshed.is_ok(), first, "a refresh token works once");
        mesh.shutdown().await;
    }
}

/// What is answered now, without the fields that nobody knew of then.
fn without_additions(now: Value, then: &Value) -> Value {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            let known = now.into_iter().filter_map(|(name, value)| {
                let value = without_additions(value, then.get(&name)?);
                Some((name, value))
            });
            Value::Object(known.collect())
        }
        (Value::Array(now), Value::Array(then)) if now.len() == then.len() => {
            now.into_iter().zip(then).map(|(now, then)| without_additions(now, then)).collect()
        }
        (now, _) => now,
    }
}

/// All that the file has, as the API showed it.
async fn everything(mesh: &Mesh, actor: &Actor, answers: &Value) -> Value {
    let page = PageRequest::default();
    let organizations = mesh.tenancy().organizations().list(actor, page).await.unwrap();
    let workspaces = mesh.tenancy().workspaces();
    let workspaces = workspaces.list(actor, organizations.data[0].id, page).await.unwrap();
    let workspace = workspaces.data[0].id;
    let hosts = mesh.gateway().virtual_hosts().list(actor, workspace, page).await.unwrap();
    let upstreams = mesh.gateway().upstreams().list(actor, workspace, page).await.unwrap();
    let id: AgentId = serde_json::from_value(answers["agent"]["id"].clone()).unwrap();
    let agent = mesh.gateway().agents().get(actor, id).await.unwrap();
    let revisions = mesh.gateway().revisions();
    let head = revisions.list(actor, workspace, page).await.unwrap().meta.total;
    let last = revisions.get(actor, workspace, RevisionNumber(head)).await.unwrap();
    assert_eq!((&last.virtual_hosts, &last.upstreams), (&hosts.data, &upstreams.data));
    // By text, in which numbers are as short as they were.
    let agent: Value = serde_json::from_str(&serde_json::to_string(&agent).unwrap()).unwrap();
    json!({
        "organizations": organizations, "workspaces": workspaces, "hosts": hosts,
        "upstreams": upstreams, "agent": agent,
        "refresh_token": answers["refresh_token"], "token": answers["token"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_made_while_it_is_written_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["mesh.db", "copy.db"].map(|it| folder.path().join(it));
    let stores = Stores::from(SqliteStore::open(&path).await.unwrap());
    let (workspace, _) = given::stored_workspace(&stores).await;
    let (writing, its_stores) = (std::sync::Arc::new(AtomicU64::new(0)), stores.clone());
    let (written, id) = (std::sync::Arc::clone(&writing), workspace.id);
    let mut writer = tokio::task::JoinSet::new();
    writer.spawn(async move {
        for base in 0.. {
            let host = std::sync::Arc::new(given::virtual_host(id, &format!("host{base}"), 0));
            let write = nxmesh_core::gateway::GatewayWrite::PutVirtualHost(host);
            its_stores.gateway.commit(given::change(id, base, vec![write])).await.unwrap();
            written.store(base + 1, Ordering::Relaxed);
        }
    });
    while writing.load(Ordering::Relaxed) < 50 {
        tokio::task::yield_now().await;
    }
    let before = writing.load(Ordering::Relaxed);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    writer.shutdown().await;
    let copied = Stores::from(SqliteStore::open(&copy).await.unwrap());
    let snapshot = copied.gateway.snapshot(workspace.id).await.unwrap().unwrap();
    let head = snapshot.revision().0;
    assert!(head >= before, "{before} were answered, {head} are in the copy");
    assert_eq!(snapshot.virtual_hosts().len() as u64, head, "it is of one moment");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_workspace_share_commits_and_each_is_a_revision() {
    let (store, _folder) = open().await;
    let stores = Stores::from(store);
    let (workspace, owner) = given::stored_workspace(&stores).await;
    let mut news = stores.gateway.subscribe();
    let mesh = Mesh::builder().store(stores.clone()).build().await.unwrap();
    let (hosts, actor) = (mesh.gateway().virtual_hosts(), Actor::user(owner));
    let creates = (0..64).map(|number| {
        let body = json!({"name": "a", "server_name": format!("{number}.example"), "listen_port": 80,
            "locations": [{"path": "/", "root": "/srv"}]});
        hosts.create(&actor, workspace.id, nxmesh_core::from_json(body).unwrap())
    });
    let made = futures::future::try_join_all(creates).await.unwrap();
    let mut revisions: Vec<_> = made.iter().map(|it| it.revision.0).collect();
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(1..=64));
    let mut commits = 0;
    while let Ok(_moved) = news.try_recv() {
        commits += 1;
    }
    assert!(commits < 32, "64 changes took {commits} commits");
    for made in made {
        let revision = stores.gateway.revision(workspace.id, made.revision).await.unwrap().unwrap();
        assert_eq!(revision.author, owner);
    }
    mesh.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_leave_no_more_rows_than_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mesh.db");
    let stores = Stores::from(SqliteStore::open(&path).await.unwrap());
    let of = given::stored_workspace(&stores).await.0.id;
    let hosts: Vec<_> = (0..20).map(|it| given::virtual_host(of, &format!("h{it}"), it)).collect();
    for base in 0..1000 {
        let host = &hosts[base as usize % 20];
        let write = match base % 3 {
            0 => GatewayWrite::DeleteVirtualHost(host.id),
            _ => GatewayWrite::PutVirtualHost(Arc::new(host.clone())),
        };
        stores.gateway.commit(given::change(of, base, vec![write])).await.unwrap();
    }
    let before = stores.gateway.state_at(of, RevisionNumber(901)).await.unwrap();
    let mut retention = Retention::default();
    retention.revisions = 100;
    let mesh = Mesh::builder().store(stores.clone()).retention(retention).build().await.unwrap();
    let page = PageRequest::new(1, 1).unwrap();
    let began = Instant::now();
    while stores.gateway.revisions(of, page).await.unwrap().meta.total > 100 {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody trims the history");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mesh.shutdown().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    let rows = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        file.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let (revisions, writes) = (rows("revisions"), rows("writes"));
    assert_eq!(revisions, 100);
    assert!((100..=120).contains(&writes), "{writes}: one for each revision, and each host");
    let after = stores.gateway.state_at(of, RevisionNumber(901)).await.unwrap();
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
}
