//! What is repeated, and what is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use nxmesh_client::{Client, Error};
use nxmesh_core::{Id, MergePatch, tenancy::NewOrganization};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

/// A server that refuses so often, and counts how often it is asked.
struct Flaky {
    client: Client,
    asked: Arc<AtomicUsize>,
    /// Under which names.
    keys: Arc<Mutex<Vec<Option<String>>>>,
    _server: JoinSet<()>,
}

async fn flaky(refusals: usize, status: u16) -> Flaky {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let keys = Arc::<Mutex<Vec<Option<String>>>>::default();
    let seen = Arc::clone(&keys);
    let answer = move |headers: HeaderMap| async move {
        let key = headers.get("idempotency-key").map(|it| it.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(key);
        let before = counted.fetch_add(1, Ordering::SeqCst);
        if before < refusals {
            let error = json!({"code": "SOME_CODE", "message": "not now", "request_id": "req-7", "details": [
                {"field": "a.b", "message": "is odd", "code": "INVALID_VALUE"},
            ]});
            return (
                StatusCode::from_u16(status).unwrap(),
                [("retry-after", "0")],
                Json(json!({"error": error})),
            );
        }
        let organization = json!({
            "id": "550e8400-e29b-41d4-a716-446655440000", "name": "A", "slug": "a", "a_field_of_tomorrow": 1,
            "created_at": "2026-01-15T10:30:00Z", "updated_at": "2026-01-15T10:30:00Z",
        });
        (StatusCode::OK, [("retry-after", "0")], Json(organization))
    };
    let all = get(answer.clone()).post(answer.clone()).patch(answer);
    let routes = Router::new()
        .route("/mesh/v1/organizations", all.clone())
        .route("/mesh/v1/organizations/{id}", all);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Flaky {
        client: Client::new(format!("http://{address}/mesh/")).unwrap(),
        asked,
        keys,
        _server: server,
    }
}

impl Flaky {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn new() -> NewOrganization {
    NewOrganization { name: "A".into(), slug: "a".into() }
}

#[tokio::test]
async fn a_read_is_repeated_while_the_server_is_away() {
    let flaky = flaky(2, 503).await;
    let found = flaky.client.organizations().get(Id::from_uuid(Default::default())).await.unwrap();
    assert_eq!((found.slug.as_str(), flaky.asked()), ("a", 3));
}

#[tokio::test]
async fn a_read_is_repeated_only_so_often() {
    let flaky = flaky(100, 503).await;
    let error =
        flaky.client.organizations().get(Id::from_uuid(Default::default())).await.unwrap_err();
    assert_eq!((error.api().unwrap().status, flaky.asked()), (503, 4));
}

#[tokio::test]
async fn a_post_is_repeated_under_the_same_name_and_the_next_has_another() {
    let flaky = flaky(2, 503).await;
    flaky.client.organizations().create(&new()).await.unwrap();
    assert_eq!(flaky.asked(), 3);
    flaky.client.organizations().create(&new()).await.unwrap();
    let keys = flaky.keys.lock().unwrap().clone();
    assert!(keys.iter().all(|it| it.as_ref().is_some_and(|it| it.len() == 36)), "{keys:?}");
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3], "{keys:?}");
}

#[tokio::test]
async fn a_write_without_a_name_that_may_have_been_done_is_not_repeated() {
    let flaky = flaky(1, 503).await;
    let patch = MergePatch::new(json!({"name": "B"})).unwrap();
    let id = Id::from_uuid(Default::default());
    let error = flaky.client.organizations().update(id, &patch).await.unwrap_err();
    assert_eq!((error.api().unwrap().status, flaky.asked()), (503, 1));
    assert_eq!(*flaky.keys.lock().unwrap(), [None]);
}

/// A refusal: status, headers and the field that is named.
type Refusal = (u16, &'static [(&'static str, &'static str)], &'static str);

/// A server that answers each of these to a `POST`, one after the other, and then that it is done.
/// Answers how often it was asked, and how it ended.
async fn posted(answers: &'static [Refusal]) -> (usize, Result<(), u16>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let answer = move || async move {
        let at = counted.fetch_add(1, Ordering::SeqCst);
        let Some((status, headers, field)) = answers.get(at) else {
            let token =
                json!({"success": true, "message": "", "timestamp": "2026-03-02T12:05:00Z"});
            return (StatusCode::OK, HeaderMap::new(), Json(token));
        };
        let mut sent = HeaderMap::new();
        for (name, value) in *headers {
            sent.insert(*name, value.parse().unwrap());
        }
        let details = json!([{"field": field, "message": "is so", "code": "DUPLICATE"}]);
        let error = json!({"code": "C", "message": "m", "request_id": "r", "details": details});
        (StatusCode::from_u16(*status).unwrap(), sent, Json(json!({"error": error})))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let routes = Router::new().fallback(post(answer));
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let done = client.agents().reload(Id::from_uuid(Default::default())).await;
    let done = done.map(|_| ()).map_err(|error| error.api().unwrap().status);
    (asked.load(Ordering::SeqCst), done)
}

const SOON: &[(&str, &str)] = &[("retry-after", "0")];
const REPLAYED: &[(&str, &str)] = &[("retry-after", "0"), ("idempotency-replayed", "true")];

#[tokio::test]
async fn a_post_that_is_under_way_is_waited_for_a_few_times() {
    const UNDER_WAY: Refusal = (409, SOON, "Idempotency-Key");
    assert_eq!(posted(&[UNDER_WAY; 3]).await, (4, Ok(())));
    assert_eq!(posted(&[UNDER_WAY; 9]).await, (4, Err(409)));
}

#[tokio::test]
async fn a_post_that_is_over_is_not_repeated() {
    assert_eq!(posted(&[(503, REPLAYED, "a")]).await, (1, Err(503)), "no other answer will come");
    assert_eq!(posted(&[(409, &[], "Idempotency-Key")]).await, (1, Err(409)), "it was lost");
    assert_eq!(posted(&[(409, SOON, "slug")]).await, (1, Err(409)), "another conflict");
}

#[tokio::test]
async fn a_post_whose_answer_broke_off_is_sent_again_under_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut keys = Vec::new();
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n", DONE] {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let key = head.lines().find(|it| it.starts_with("idempotency-key: "));
            keys.push(key.unwrap().to_owned());
            connection.write_all(answer).await.unwrap();
        }
        keys
    });
    client.agents().reload(Id::from_uuid(Default::default())).await.unwrap();
    let keys = server.join_next().await.unwrap().unwrap();
    assert!(keys.iter().all(|it| *it == keys[0]), "{keys:?}");
}

const DONE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\nconnection: close\r\n\r\n\
    {\"success\":true,\"message\":\"\",\"timestamp\":\"2026-03-02T12:05:00Z\"}";

#[tokio::test]
async fn a_write_that_was_not_let_in_is_repeated() {
    let flaky = flaky(2, 429).await;
    flaky.client.organizations().create(&new()).await.unwrap();
    assert_eq!(flaky.asked(), 3);
}

#[tokio::test]
async fn what_is_wrong_is_not_repeated_and_told_whole() {
    let flaky = flaky(100, 422).await;
    let error =
        flaky.client.organizations().get(Id::from_uuid(Default::default())).await.unwrap_err();
    let told = error.api().unwrap();
    assert_eq!(
        (told.status, told.code.as_str(), told.request_id.as_str()),
        (422, "SOME_CODE", "req-7")
    );
    assert_eq!((told.details[0].field.as_str(), flaky.asked()), ("a.b", 1));
    assert_eq!(error.to_string(), "not now (SOME_CODE, request req-7); a.b: is odd");
}

#[tokio::test]
async fn an_answer_that_is_none_of_ours_is_told_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes =
        Router::new().fallback(|| async { (StatusCode::BAD_GATEWAY, Value::Null.to_string()) });
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let client = Client::new(format!("http://{address}")).unwrap();
    let error = client.organizations().create(&new()).await.unwrap_err();
    assert!(matches!(error, Error::Answer { status: 502, .. }), "{error:?}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    for address in ["", "127.0.0.1:8080", "ftp://x", "http://"] {
        assert!(matches!(Client::new(address), Err(Error::Address(_))), "{address}");
    }
}
