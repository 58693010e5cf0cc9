//! Requests that are sent again with their key are done once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use nxmesh_core::{
    Held, IdempotencyStore, KeyedHash, ManualClock, Mesh, Reservation, Result,
    gateway::NewChangeSet,
    store::{Stores, memory::MemoryStore},
    tenancy::Sealed,
};
use nxmesh_server::HttpSettings;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::given::{
    Answer, EMAIL, Given, PASSWORD, host, served, server, server_on_sqlite, upstream,
};

impl Given {
    async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [("idempotency-key", key)];
        self.send_with(Method::POST, path, &headers, Some(body.to_string())).await
    }

    /// How many there are in a list.
    async fn count(&self, path: &str) -> u64 {
        let answer = self.send(Method::GET, path, None).await;
        answer.body["meta"]["total"].as_u64().unwrap()
    }
}

fn organization(slug: &str) -> Value {
    json!({"name": "Acme", "slug": slug})
}

const ORGANIZATIONS: &str = "/v1/organizations";

/// Status, what is said of the answer, and the answer.
fn shown(answer: &Answer) -> (u16, [String; 3], String) {
    let headers = ["content-type", "etag", "location"].map(|it| answer.header(it).to_owned());
    (answer.status.as_u16(), headers, answer.text.clone())
}

#[tokio::test]
async fn what_is_sent_again_is_answered_as_the_first_time_and_done_once() {
    let server = server_on_sqlite().await;
    let made = server.post(ORGANIZATIONS, "organization", &organization("acme")).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let workspaces = format!("{ORGANIZATIONS}/{id}/workspaces");
    let workspace = json!({"name": "Test", "slug": "test"});
    let made = server.post(&workspaces, "workspace", &workspace).await;
    let of = format!("/v1/workspaces/{}", made.body["id"].as_str().unwrap());
    let [hosts, upstreams, agents] =
        ["virtual-hosts", "upstreams", "agents"].map(|it| format!("{of}/{it}"));
    let (members, keys) = (format!("{ORGANIZATIONS}/{id}/members"), "/v1/api-keys".to_owned());
    let list_of_keys = format!("{keys}?organization_id={id}");
    let token = json!({"name": "agent", "labels": {}, "expires_in_hours": 1});
    let key = json!({"organization_id": id, "name": "ci", "role": "viewer"});
    let member = json!({"email": "stranger@example.com", "role": "viewer"});
    let cases = [
        (ORGANIZATIONS.to_owned(), organization("other"), ORGANIZATIONS),
        (workspaces.clone(), json!({"name": "Other", "slug": "other"}), &workspaces),
        (upstreams.clone(), json!(upstream("a")), &upstreams),
        (hosts.clone(), json!(host("a.example", 80)), &hosts),
        (format!("{agents}/tokens"), token, &agents),
        (keys, key, &list_of_keys),
        (members.clone(), member, &members),
    ];
    for (number, (path, body, list)) in cases.into_iter().enumerate() {
        let (before, key) = (server.count(list).await, format!("key-{number}"));
        let first = server.post(&path, &key, &body).await;
        assert_eq!(first.status, 201, "{path}: {}", first.text);
        assert_eq!(first.header("idempotency-replayed"), "", "{path}");
        for _ in 0..2 {
            let again = server.post(&path, &key, &body).await;
            assert_eq!(shown(&again), shown(&first), "{path}");
            assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
            assert_ne!(again.header("x-request-id"), first.header("x-request-id"), "{path}");
        }
        assert_eq!(server.count(list).await, before + 1, "{path}");
    }
    let restore = format!("{of}/revisions/1/restore");
    let first = server.post(&restore, "restore", &Value::Null).await;
    server.client.upstreams().create(of[15..].parse().unwrap(), &upstream("b")).await.unwrap();
    let again = server.post(&restore, "restore", &Value::Null).await;
    assert_eq!((first.status.as_u16(), shown(&again)), (200, shown(&first)));
    assert_eq!(server.count(&upstreams).await, 2, "what came later stays");
}

#[tokio::test]
async fn change_sets_are_made_once_and_previews_anew() {
    let server = server().await;
    let of = format!("/v1/workspaces/{}", server.workspace().await.id);
    let set = json!(NewChangeSet::new("one").create_upstream_as("a", &upstream("a")));
    for path in ["changes?dry_run=true", "config/preview"] {
        for _ in 0..2 {
            let preview = server.post(&format!("{of}/{path}"), "key", &set).await;
            let answered = (preview.status.as_u16(), preview.header("idempotency-replayed"));
            assert_eq!(answered, (200, ""), "{path}: {}", preview.text);
        }
    }
    let first = server.post(&format!("{of}/changes"), "key", &set).await;
    let again = server.post(&format!("{of}/changes"), "key", &set).await;
    assert_eq!((first.status.as_u16(), shown(&again)), (200, shown(&first)), "{}", first.text);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(server.count(&format!("{of}/upstreams")).await, 1);
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_caller() {
    let server = server().await;
    let first = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    let id = first.body["id"].as_str().unwrap();
    let workspace = json!({"name": "Acme", "slug": "acme"});
    let others = [
        (ORGANIZATIONS.to_owned(), organization("other")),
        (format!("{ORGANIZATIONS}?a=b"), organization("acme")),
        (format!("{ORGANIZATIONS}/{id}/workspaces"), workspace),
    ];
    for (path, body) in others {
        let refused = server.post(&path, "key", &body).await;
        let wanted = (422, "VALIDATION_ERROR", vec!["Idempotency-Key"]);
        assert_eq!(refused.refusal(), wanted, "{path}");
    }
    assert_eq!(server.post(ORGANIZATIONS, "key", &organization("acme")).await.text, first.text);
    let stranger = server.stranger().await.auth().access_token().unwrap();
    let made = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{}{ORGANIZATIONS}", server.base))
        .bearer_auth(stranger.expose())
        .header("idempotency-key", "key")
        .body(organization("strange").to_string());
    assert_eq!(made.send().await.unwrap().status(), 201, "the key of somebody else is another");
    assert_eq!(server.count(ORGANIZATIONS).await, 1);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_by_name() {
    let server = server().await;
    for key in ["", "a b", "ä", &"k".repeat(256)] {
        let refused = server.post(ORGANIZATIONS, key, &organization("acme")).await;
        assert_eq!(refused.refusal(), (422, "VALIDATION_ERROR", vec!["Idempotency-Key"]), "{key}");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    let body = Some(organization("acme").to_string());
    let refused = server.send_with(Method::POST, ORGANIZATIONS, &twice, body).await;
    assert_eq!(refused.refusal(), (422, "VALIDATION_ERROR", vec!["Idempotency-Key"]));
    assert_eq!(server.count(ORGANIZATIONS).await, 0);
    let longest = "k".repeat(255);
    let made = server.post(ORGANIZATIONS, &longest, &organization("acme")).await;
    assert_eq!(made.status, 201);
}

#[tokio::test]
async fn what_changed_nothing_is_done_when_it_is_sent_again() {
    let server = server().await;
    server.post(ORGANIZATIONS, "first", &organization("acme")).await;
    let taken = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    assert_eq!(taken.refusal(), (409, "CONFLICT", vec!["slug"]));
    let again = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (409, ""));
    let invalid = server.post(ORGANIZATIONS, "key", &organization("no slug")).await;
    assert_eq!(invalid.refusal(), (422, "VALIDATION_ERROR", vec!["slug"]));
    let made = server.post(ORGANIZATIONS, "key", &organization("other")).await;
    assert_eq!(made.status, 201, "the key was given back");
}

#[tokio::test]
async fn logins_and_other_methods_have_no_keys() {
    let server = server().await;
    let login = json!({"email": EMAIL, "password": PASSWORD});
    let tokens = [(); 2].map(|()| server.post("/v1/auth/login", "key", &login));
    let tokens = join_all(tokens).await;
    assert_eq!(tokens[0].status, 200);
    assert_ne!(tokens[0].text, tokens[1].text);
    for _ in 0..2 {
        let headers = [("idempotency-key", "not a key")];
        let list = server.send_with(Method::GET, ORGANIZATIONS, &headers, None).await;
        assert_eq!((list.status.as_u16(), list.header("idempotency-replayed")), (200, ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_done() {
    let server = server_on_sqlite().await;
    let made = server.post(ORGANIZATIONS, "organization", &organization("acme")).await;
    let of = made.body["id"].as_str().unwrap();
    let body = json!({"organization_id": of, "name": "ci", "role": "viewer"});
    let answers = join_all((0..50).map(|_| server.post("/v1/api-keys", "key", &body))).await;
    let mut made: Vec<_> = Vec::new();
    for answer in answers {
        match answer.status.as_u16() {
            201 => made.push(answer.text),
            409 => assert_eq!(answer.header("retry-after"), "1"),
            _ => panic!("{} {}", answer.status, answer.text),
        }
    }
    made.dedup();
    assert_eq!(made.len(), 1);
    assert_eq!(server.count(&format!("/v1/api-keys?organization_id={of}")).await, 1);
}

#[tokio::test]
async fn tokens_are_not_in_the_file() {
    let server = server_on_sqlite().await;
    let made = server.post(ORGANIZATIONS, "the-key-of-a-request", &organization("acme")).await;
    let of = made.body["id"].as_str().unwrap();
    let body = json!({"organization_id": of, "name": "a-name-to-find", "role": "viewer"});
    let made = server.post("/v1/api-keys", "another-key-of-a-request", &body).await;
    let text = made.body["key"].as_str().unwrap();
    let again = server.post("/v1/api-keys", "another-key-of-a-request", &body).await;
    assert_eq!(again.text, made.text);
    let folder = server.folder.as_ref().unwrap().path();
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let found = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(found("a-name-to-find"), "what is stored plainly is found");
    assert!(!found(text) && !found(&text[11..]), "the key is in the file");
    assert!(!found("key-of-a-request"), "the name of the request is in the file");
}

/// A store that can be made slow, or to lose what it is told.
#[derive(Debug)]
struct Odd {
    inner: Arc<dyn IdempotencyStore>,
    /// How many requests may be reserved.
    gate: Semaphore,
    loses: bool,
    asked: AtomicUsize,
}

impl Odd {
    fn stores(gate: usize, loses: bool) -> (Stores, Arc<Self>) {
        let mut stores = Stores::from(MemoryStore::new());
        let inner = Arc::clone(&stores.idempotency);
        let odd = Self { inner, gate: Semaphore::new(gate), loses, asked: AtomicUsize::new(0) };
        let odd = Arc::new(odd);
        stores.idempotency = Arc::clone(&odd) as Arc<dyn IdempotencyStore>;
        (stores, odd)
    }
}

#[async_trait]
impl IdempotencyStore for Odd {
    async fn reserve(&self, reservation: &Reservation) -> Result<Option<Held>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        self.inner.reserve(reservation).await
    }

    async fn complete(&self, key: &KeyedHash, ticket: Uuid, answer: &Sealed) -> Result<bool> {
        // As when the server is killed before.
        if self.loses { Ok(true) } else { self.inner.complete(key, ticket, answer).await }
    }

    async fn release(&self, key: &KeyedHash, ticket: Uuid) -> Result<bool> {
        self.inner.release(key, ticket).await
    }

    async fn drop_expired(&self, now: DateTime<Utc>) -> Result<u64> {
        self.inner.drop_expired(now).await
    }
}

#[tokio::test]
async fn an_outcome_that_was_lost_is_told_and_nothing_is_done_again() {
    let (stores, _) = Odd::stores(100, true);
    let clock = ManualClock::new("2026-01-15T10:30:00Z".parse().unwrap());
    let mesh = Mesh::builder().store(stores).clock(clock.clone()).build().await.unwrap();
    let server = served(mesh, None, HttpSettings::default()).await;
    let first = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    assert_eq!(first.status, 201);
    let wanted = (409, "CONFLICT", vec!["Idempotency-Key"]);
    let soon = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    assert_eq!((soon.refusal(), soon.header("retry-after")), (wanted.clone(), "1"));
    assert!(soon.text.contains("is under way"), "{}", soon.text);
    let other = server.post(ORGANIZATIONS, "key", &organization("other")).await;
    assert_eq!(other.refusal(), (422, "VALIDATION_ERROR", vec!["Idempotency-Key"]));
    clock.advance(TimeDelta::seconds(60));
    let later = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    assert_eq!((later.refusal(), later.header("retry-after")), (wanted, ""));
    assert!(later.text.contains("its outcome was lost"), "{}", later.text);
    assert_eq!(server.count(ORGANIZATIONS).await, 1);
    // Nothing is remembered for ever.
    clock.advance(TimeDelta::hours(24));
    server.client.auth().login(EMAIL, PASSWORD).await.unwrap();
    let made = server.post(ORGANIZATIONS, "key", &organization("other")).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_when_whoever_sent_it_goes_away() {
    let (stores, odd) = Odd::stores(0, false);
    let mesh = Mesh::builder().store(stores).build().await.unwrap();
    let server = served(mesh, None, HttpSettings::default()).await;
    let body = organization("acme");
    tokio::select! {
        answer = server.post(ORGANIZATIONS, "key", &body) => panic!("{}", answer.status),
        () = async { while odd.asked.load(Ordering::Relaxed) == 0 { tokio::task::yield_now().await } } => {}
    }
    // The connection is closed; only now the work may begin.
    odd.gate.add_permits(100);
    while server.count(ORGANIZATIONS).await == 0 {
        tokio::task::yield_now().await;
    }
    let mut again = server.post(ORGANIZATIONS, "key", &body).await;
    while again.status == 409 && again.header("retry-after") == "1" {
        again = server.post(ORGANIZATIONS, "key", &body).await;
    }
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(server.count(ORGANIZATIONS).await, 1);
}

#[tokio::test]
async fn a_request_with_a_key_counts_once() {
    let server = server().await;
    let left = |answer: &Answer| answer.header("x-ratelimit-remaining").parse::<i64>().unwrap();
    let before = left(&server.send(Method::GET, ORGANIZATIONS, None).await);
    let first = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    let again = server.post(ORGANIZATIONS, "key", &organization("acme")).await;
    // One more may have come back meanwhile.
    assert!(before - left(&first) <= 1 && left(&first) - left(&again) <= 1);
    let nobody = server.send_as(&Method::POST, ORGANIZATIONS, None, Some(organization("a"))).await;
    assert_eq!(nobody.status, 401);
}
