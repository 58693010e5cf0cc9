//! What the file has in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{path::Path, sync::Arc};

use rusqlite::Connection;

use super::{SqliteRendezvous, open::MIGRATIONS};
use crate::{
    conformance::rendezvous::{
        given::{
            END, HERE, Millis, NOW, Store, added, answered, candidates, count, made, ok, read,
            texts,
        },
        play::play,
    },
    rendezvous::{AddCandidates, Durability},
};

/// The store in this file.
async fn at(path: &Path) -> Store {
    Arc::new(SqliteRendezvous::open(path, Durability::Relaxed).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_called_each_count_is_that_of_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    let store = at(&path).await;
    play(&store, 7, 500).await;
    for id in ["open", "done"] {
        made(&store, "ann", id, &["t"]).await;
        for by in ["ann", "bob", "cem"] {
            let add = candidates(id, by, &["1", "2"], NOW);
            added(&store, AddCandidates { most_early: Some(9), ..add }).await;
        }
    }
    answered(&store, "done", "bob", NOW).await;
    ok(store.retag(&HERE, "ann", &texts(&["t"]), NOW).await);
    let file = Connection::open(&path).unwrap();
    for (wrong, sql) in [
        ("totals", "totals WHERE offers <> (SELECT count(*) FROM offers)"),
        ("realms", "realms r WHERE offers <> (SELECT count(*) FROM offers WHERE realm = r.id)"),
        ("offers", "peers p WHERE offers <> (SELECT count(*) FROM offers WHERE peer = p.id)"),
        ("answers", "peers p WHERE answers <> (SELECT count(*) FROM offers WHERE answerer = p.id)"),
        (
            "early",
            "peers p WHERE early <> (SELECT count(*) FROM parts JOIN offers o ON o.seq = offer
                 WHERE parts.peer = p.id AND o.peer <> p.id AND o.answerer IS NULL)",
        ),
        (
            "candidates",
            "parts p WHERE candidates <>
                 (SELECT count(*) FROM candidates WHERE offer = p.offer AND peer = p.peer)",
        ),
    ] {
        let sql = format!("SELECT count(*) FROM {sql}");
        let found: u64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, 0, "{wrong}");
    }
    while !ok(store.sweep(Millis::MAX, 100).await).is_empty() {}
    for table in ["offers", "candidates", "parts", "peers", "realms", "topics", "nonces"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: u64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let counts = ok(store.topic_counts(&HERE, &texts(&["t"]), None, NOW).await);
    assert_eq!(counts, [count("t", 0, 0)]);
}

/// A file of the program of before has all that is in it, and its counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_first_version_opens_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    let file = Connection::open(&path).unwrap();
    let schema = MIGRATIONS[0].to_owned();
    let rows = format!(
        r#"INSERT INTO realms VALUES (1, 'offers', 1, 0);
           UPDATE totals SET offers = 1;
           INSERT INTO peers VALUES (1, 1, 'ann', 1, 0, {NOW}, 0), (2, 1, 'bob', 0, 0, 0, 0);
           INSERT INTO offers (realm, id, peer, created_at, last_seen, expires_at, topics, sdp)
               VALUES (1, 'one', 1, {NOW}, {NOW}, {END}, '[]', 'v=0');
           INSERT INTO parts VALUES (1, 2, 1);
           INSERT INTO candidates VALUES (1, 1, 2, 0, NULL, {NOW}, '{{}}');
           PRAGMA user_version = 1;"#
    );
    file.execute_batch(&(schema + &rows)).unwrap();
    let store = at(&path).await;
    ok(store.sweep(NOW + 3_600_000, 0).await);
    let early = "SELECT early FROM peers WHERE name = 'bob'";
    let bob = || file.query_row(early, [], |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!(bob(), 1);
    answered(&store, "one", "bob", NOW).await;
    assert_eq!(read(&store, "one", "ann", 0).await.len(), 1, "what bob has added counts");
    assert_eq!(bob(), 0);
    drop(store);
    // What was upgraded opens again.
    let store = at(&path).await;
    ok(store.sweep(NOW + 3_600_000, 9).await);
    ok(store.sweep(NOW + 3_600_000, 9).await);
    let peers = "SELECT count(*) FROM peers";
    assert_eq!(file.query_row(peers, [], |row| row.get::<_, u64>(0)).unwrap(), 0);
}
