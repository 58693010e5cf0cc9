use nxmesh_client::Client;
use reqwest::Method;
use serde_json::{Value, json};

use crate::given::{EMAIL, Given, PASSWORD, server, server_on_sqlite};

async fn login(given: &Given, email: &str, password: &str) -> crate::given::Answer {
    given
        .send(Method::POST, "/v1/auth/login", Some(json!({"email": email, "password": password})))
        .await
}

#[tokio::test]
async fn a_login_answers_what_the_source_says() {
    let given = server_on_sqlite().await;
    let answer = login(&given, "ME@example.com", PASSWORD).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.body["expires_in"], &answer.body["token_type"]),
        (&json!(3600), &json!("Bearer"))
    );
    let token = answer.body["access_token"].as_str().unwrap();
    assert_eq!(token.split('.').count(), 3);
    let bearer = format!("Bearer {token}");
    assert_eq!(given.send_bare(Method::GET, "/v1/organizations", Some(&bearer)).await.status, 200);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_answered_alike() {
    let given = server().await;
    let mut answers = Vec::new();
    for (email, password) in
        [(EMAIL, "wrong horse"), ("nobody@example.com", PASSWORD), ("nonsense", PASSWORD)]
    {
        let mut answer = login(&given, email, password).await;
        answer.body["error"]["request_id"] = Value::Null;
        answers.push((answer.status, answer.body));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|it| *it == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn what_is_no_valid_token_is_refused() {
    let given = server().await;
    let other = server().await;
    let foreign = other.client.auth().access_token().unwrap();
    let foreign = format!("Bearer {}", foreign.expose());
    let own = given.client.auth().access_token().unwrap();
    let cut = format!("Bearer {}", &own.expose()[..own.expose().len() - 2]);
    let unsigned = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIwIn0.".to_owned();
    let basic = format!("Basic {}", own.expose());
    for authorization in [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer x"),
        Some(&foreign),
        Some(&cut),
        Some(&unsigned),
        Some(&basic),
    ] {
        let authorization = authorization.map(|it: &str| it);
        let answer = given.send_bare(Method::GET, "/v1/organizations", authorization).await;
        assert_eq!(answer.refusal(), (401, "UNAUTHORIZED", vec![]), "{authorization:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_second_use_ends_the_login() {
    for given in [server().await, server_on_sqlite().await] {
        let first = login(&given, EMAIL, PASSWORD).await.body["refresh_token"].clone();
        let refresh = async |token: &Value| {
            given
                .send(Method::POST, "/v1/auth/refresh", Some(json!({"refresh_token": token})))
                .await
        };
        let second = refresh(&first).await;
        assert_eq!(second.status, 200);
        let second = second.body["refresh_token"].clone();
        assert_ne!(first, second);
        assert_eq!(refresh(&first).await.status, 401);
        assert_eq!(refresh(&second).await.status, 401, "the whole family is revoked");
    }
}

#[tokio::test]
async fn the_client_renews_its_tokens_by_itself() {
    let given = server().await;
    let client = Client::new(&given.base).unwrap();
    client.auth().login(EMAIL, PASSWORD).await.unwrap();
    let before = client.auth().access_token().unwrap().expose().clone();
    client.auth().refresh().await.unwrap();
    assert_ne!(&before, client.auth().access_token().unwrap().expose());
    let error = client.auth().login(EMAIL, "wrong horse").await.unwrap_err();
    assert_eq!(error.api().unwrap().code, "UNAUTHORIZED");
}
