//! Errors always have the same form, wherever they come from.

use reqwest::Method;
use serde_json::json;

use crate::given::server;

#[tokio::test]
async fn every_error_has_the_envelope_and_the_id_of_the_request() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    let hosts = format!("/v1/workspaces/{workspace}/virtual-hosts");
    let large = format!("\"{}\"", "a".repeat(1024 * 1024));
    let cases = [
        (Method::GET, "/v1/nothing", None, 404, "NOT_FOUND"),
        (Method::GET, "/nothing", None, 404, "NOT_FOUND"),
        (Method::GET, "/v1/agents/not-an-id", None, 404, "NOT_FOUND"),
        (Method::GET, "/v1/agents/770e8400-e29b-41d4-a716-446655440002", None, 404, "NOT_FOUND"),
        (Method::PUT, hosts.as_str(), None, 405, "VALIDATION_ERROR"),
        (Method::POST, hosts.as_str(), Some("{".to_owned()), 422, "VALIDATION_ERROR"),
        (Method::POST, hosts.as_str(), Some("{} {}".to_owned()), 422, "VALIDATION_ERROR"),
        (Method::POST, hosts.as_str(), Some(String::new()), 422, "VALIDATION_ERROR"),
        (Method::POST, hosts.as_str(), Some("[]".to_owned()), 422, "VALIDATION_ERROR"),
        (
            Method::POST,
            hosts.as_str(),
            Some("{\"name\":\"\u{fffd}\\ud800\"}".to_owned()),
            422,
            "VALIDATION_ERROR",
        ),
        (Method::POST, hosts.as_str(), Some(large), 413, "VALIDATION_ERROR"),
    ];
    for (method, path, body, status, code) in cases {
        let shown =
            format!("{method} {path} {:?}", body.as_deref().map(|it| &it[..it.len().min(20)]));
        let answer = given.send_with(method, path, &[("x-request-id", "mine-1")], body).await;
        let error = &answer.body["error"];
        assert_eq!(
            (answer.status.as_u16(), error["code"].as_str()),
            (status, Some(code)),
            "{shown}: {}",
            answer.body
        );
        assert_eq!(error["request_id"], "mine-1", "{shown}");
        assert_eq!(answer.header("x-request-id"), "mine-1");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(
            error["message"].as_str().is_some_and(|it| !it.is_empty())
                && error["details"].is_array(),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_read() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    let path = format!("/v1/workspaces/{workspace}/virtual-hosts");
    // Of this size it is read, and found to be no virtual host.
    let largest = format!("{{\"name\":\"{}\"}}", "a".repeat(1024 * 1024 - 11));
    assert_eq!(largest.len(), 1024 * 1024);
    let answer = given.send_with(Method::POST, &path, &[], Some(largest)).await;
    assert_eq!(answer.status, 422);
}

#[tokio::test]
async fn a_request_without_a_sane_id_gets_one() {
    let given = server().await;
    for sent in ["", "a b", &"x".repeat(129)] {
        let answer = given
            .send_with(Method::GET, "/v1/organizations", &[("x-request-id", sent)], None)
            .await;
        assert!(
            answer.header("x-request-id").len() == 36,
            "{sent:?} {}",
            answer.header("x-request-id")
        );
    }
}

#[tokio::test]
async fn parameters_of_lists_are_named_when_they_are_wrong() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    for (query, field) in [
        ("page=0", "page"),
        ("page=x", "page"),
        ("per_page=0", "per_page"),
        ("per_page=101", "per_page"),
        ("page=-1", "page"),
    ] {
        let answer = given.send(Method::GET, &format!("/v1/organizations?{query}"), None).await;
        assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec![field]), "{query}");
    }
    for (query, field) in [("state=good", "state"), ("label_selector=a+b", "label_selector")] {
        let answer = given
            .send(Method::GET, &format!("/v1/workspaces/{workspace}/agents?{query}"), None)
            .await;
        assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec![field]), "{query}");
    }
}

#[tokio::test]
async fn unknown_fields_are_refused() {
    let given = server().await;
    let body = json!({"name": "A", "slug": "a", "colour": "red"});
    let answer = given.send(Method::POST, "/v1/organizations", Some(body)).await;
    assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec!["colour"]));
}

#[tokio::test]
async fn the_server_says_that_it_is_alive_and_ready() {
    let given = server().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(given.send_bare(Method::GET, path, None).await.status, 200);
    }
}
