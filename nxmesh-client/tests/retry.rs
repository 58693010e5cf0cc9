//! What is repeated, and what is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, http::StatusCode, routing::get};
use nxmesh_client::{Client, Error};
use nxmesh_core::{Id, MergePatch, tenancy::NewOrganization};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// A server that refuses so often, and counts how often it is asked.
struct Flaky {
    client: Client,
    asked: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

async fn flaky(refusals: usize, status: u16) -> Flaky {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let answer = move || async move {
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
async fn a_write_that_may_have_been_done_is_not_repeated() {
    let flaky = flaky(1, 503).await;
    assert_eq!(
        flaky.client.organizations().create(&new()).await.unwrap_err().api().unwrap().status,
        503
    );
    assert_eq!(flaky.asked(), 1);
    let patch = MergePatch::new(json!({"name": "B"})).unwrap();
    flaky.client.organizations().update(Id::from_uuid(Default::default()), &patch).await.unwrap();
    assert_eq!(flaky.asked(), 2);
}

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
