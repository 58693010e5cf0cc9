//! What is there after opening again.

use std::slice::from_ref;

use nxmesh_core::{
    conformance::rendezvous::given::{
        END, HERE, NOW, added, answer, answered, candidates, made, ok, read, there,
    },
    rendezvous::{AnswerOutcome, Nonce, PublicKey},
};
use uuid::Uuid;

use super::at;

#[tokio::test(flavor = "multi_thread")]
async fn stamps_go_on_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    let store = at(&path).await;
    let first = made(&store, "ann", "one", &["t"]).await.created_at;
    answered(&store, "one", "bob", NOW).await;
    added(&store, candidates("one", "ann", &["1", "2", "3"], NOW + 5)).await;
    let before = ok(store.deliveries(&HERE, "bob", 0, 9, NOW).await);
    let seen = before.last().unwrap().stamp;
    drop(store);
    let store = at(&path).await;
    assert_eq!(ok(store.deliveries(&HERE, "bob", 0, 9, NOW).await), before);
    // The clock may be behind that of the process before.
    added(&store, candidates("one", "ann", &["4"], NOW)).await;
    let after = ok(store.deliveries(&HERE, "bob", seen, 9, NOW).await);
    assert_eq!(after.len(), 1, "it is above what was seen");
    assert_eq!(read(&store, "one", "bob", seen).await.len(), 1);
    assert!(made(&store, "ann", "two", &["t"]).await.created_at > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_was_used_stays_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    let key = PublicKey::parse("a".repeat(64)).unwrap();
    let nonce = Nonce { key, nonce: Uuid::from_u128(1), expires_at: END };
    assert_eq!(ok(at(&path).await.use_nonces(from_ref(&nonce), NOW).await), [true]);
    assert_eq!(ok(at(&path).await.use_nonces(from_ref(&nonce), END - 1).await), [false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_stay_counted_and_locks_stay_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    let store = at(&path).await;
    made(&store, "ann", "one", &["t"]).await;
    for _ in 0..2 {
        ok(store.wrong_secret(&HERE, "one", 3, NOW, END - 1).await);
    }
    drop(store);
    let store = at(&path).await;
    assert_eq!(there(&store, "one", NOW).await.wrong_secrets, 2);
    ok(store.wrong_secret(&HERE, "one", 3, NOW, END - 1).await);
    drop(store);
    let store = at(&path).await;
    assert_eq!(ok(store.answer(answer("one", "bob", NOW)).await), AnswerOutcome::Locked);
    let open = ok(store.answer(answer("one", "bob", END - 1)).await);
    assert!(matches!(open, AnswerOutcome::Answered(_)), "{open:?}");
}
