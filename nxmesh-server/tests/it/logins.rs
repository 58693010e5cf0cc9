//! Whoever guesses passwords is stopped, and nobody else is.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::given::{EMAIL, Given, PASSWORD, server};

/// Tries to log in from an address of this machine.
async fn login(given: &Given, from: IpAddr, password: &str) -> (StatusCode, Option<u32>, Value) {
    let http = reqwest::Client::builder().local_address(from).build().unwrap();
    let body = json!({"email": EMAIL, "password": password}).to_string();
    let answer = http.post(format!("{}/v1/auth/login", given.base)).body(body).send().await;
    let answer = answer.unwrap();
    let wait = answer.headers().get("retry-after").map(|it| it.to_str().unwrap().parse().unwrap());
    let status = answer.status();
    (status, wait, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn a_thousand_wrong_logins_are_stopped_and_another_address_is_not() {
    let given = server().await;
    let guesser = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let (mut wrong, mut stopped) = (0, 0);
    for guess in 0..1000 {
        let (status, wait, body) = login(&given, guesser, &format!("guess {guess}")).await;
        match status {
            StatusCode::UNAUTHORIZED => wrong += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                assert_eq!(body["error"]["code"], "RATE_LIMITED");
                assert!(wait.is_some_and(|it| (1..=60).contains(&it)), "{wait:?}");
                stopped += 1;
            }
            other => panic!("{other}: {body}"),
        }
    }
    // Ten at once, and one more for every six seconds that this took.
    assert_eq!(wrong + stopped, 1000);
    assert!((10..100).contains(&wrong), "{wrong} guesses were looked at");

    // The right one is no way around it, as long as no turn has come in the meantime.
    while login(&given, guesser, "guess").await.1.is_none_or(|wait| wait < 3) {}
    let (status, wait, body) = login(&given, guesser, PASSWORD).await;
    assert_eq!((status, body["access_token"].as_str()), (StatusCode::TOO_MANY_REQUESTS, None));
    assert!(wait.is_some());

    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let (status, _, body) = login(&given, other, PASSWORD).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body["access_token"].is_string());
}
