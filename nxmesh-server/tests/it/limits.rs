//! How many requests are answered.

use std::num::NonZeroU32;

use nxmesh_core::tenancy::{NewApiKey, Role};
use nxmesh_server::HttpSettings;
use reqwest::Method;
use serde_json::json;

use crate::given::{EMAIL, PASSWORD, server, server_with};

#[tokio::test]
async fn every_answer_says_what_is_left() {
    let server = server().await;
    let answer = server.send(Method::GET, "/v1/organizations", None).await;
    assert_eq!(answer.header("x-ratelimit-limit"), "1000");
    let left: u32 = answer.header("x-ratelimit-remaining").parse().unwrap();
    assert!((900..1000).contains(&left), "{left}");
    let reset: u32 = answer.header("x-ratelimit-reset").parse().unwrap();
    assert!((1..=60).contains(&reset), "{reset}");
    let bare = server.send_bare(Method::GET, "/v1/organizations", None).await;
    assert_eq!((bare.status.as_u16(), bare.header("x-ratelimit-limit")), (401, "1000"));
    let probe = server.send_bare(Method::GET, "/healthz", None).await;
    assert_eq!(probe.header("x-ratelimit-limit"), "", "probes are not counted");
}

#[tokio::test]
async fn whoever_asks_too_often_waits_and_others_do_not() {
    let mut settings = HttpSettings::default();
    settings.requests_per_minute = NonZeroU32::new(20);
    let server = server_with(settings).await;
    let organization = server.organization().await.id;
    let key = NewApiKey {
        organization_id: organization,
        name: "ci".into(),
        role: Role::Viewer,
        expires_at: None,
    };
    let key = server.client.api_keys().create(&key).await.unwrap().key;
    let mut refused = None;
    for _ in 0..25 {
        let answer = server.send(Method::GET, "/v1/organizations", None).await;
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("25 requests are more than 20");
    assert_eq!(refused.refusal(), (429, "RATE_LIMITED", vec![]));
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    let wait: u32 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let path = "/v1/organizations";
    let by_key = server.send_as(&Method::GET, path, Some(key.expose()), None).await;
    assert_eq!(by_key.status, 200, "an API key is counted for itself");
    for _ in 0..40 {
        server.send_bare(Method::GET, path, Some("Bearer guessed")).await;
    }
    let guess = server.send_bare(Method::GET, path, Some("Bearer guessed")).await;
    assert_eq!(guess.status, 429, "guesses are counted by address");
}

#[tokio::test]
async fn ten_logins_a_minute_are_enough_for_an_address() {
    let server = server().await;
    let login = async |password: &str| {
        let body = json!({"email": EMAIL, "password": password});
        server.send_as(&Method::POST, "/v1/auth/login", None, Some(body)).await.status.as_u16()
    };
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(login("wrong horse").await);
    }
    assert_eq!(answers.iter().filter(|it| **it == 429).count(), 3, "{answers:?}: one came before");
    assert_eq!(login(PASSWORD).await, 429);
}

#[tokio::test]
async fn scripts_of_allowed_origins_may_call_and_no_others() {
    let mut settings = HttpSettings::default();
    settings.allowed_origins = vec!["https://console.example".parse().unwrap()];
    let server = server_with(settings).await;
    let ask = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization,if-match"),
        ];
        let path = "/v1/organizations";
        let preflight = server.send_with(Method::OPTIONS, path, &headers, None).await;
        let answer = server.send_with(Method::GET, path, &headers[..1], None).await;
        let allowed = "access-control-allow-origin";
        (preflight.header(allowed).to_owned(), answer.header(allowed).to_owned(), answer.status)
    };
    let origin = "https://console.example".to_owned();
    assert_eq!(ask(&origin).await, (origin.clone(), origin, reqwest::StatusCode::OK));
    let (preflight, answer, _) = ask("https://evil.example").await;
    assert_eq!((preflight, answer), (String::new(), String::new()));
}
