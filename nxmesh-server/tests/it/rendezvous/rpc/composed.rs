//! The protocol beside the others.

use nxmesh_server::rendezvous::{all, offers_with, origin_with, with_rpc};
use reqwest::Method;
use serde_json::json;

use super::given::{Given, Peer, composed, error, result};

#[tokio::test]
async fn beside_the_other_protocols_it_is_where_clients_of_their_base_look() {
    let beside = composed(|rendezvous, settings| {
        with_rpc(offers_with(rendezvous.clone(), settings), &rendezvous, settings)
    });
    check(&beside.await, "").await;
    let nested = composed(|rendezvous, settings| all(&rendezvous, settings));
    check(&nested.await, "/rendezvous").await;
}

#[tokio::test]
async fn beside_origin_it_takes_the_name_of_no_topic() {
    let server = composed(|rendezvous, settings| {
        with_rpc(origin_with(rendezvous.clone(), settings), &rendezvous, settings)
    })
    .await;
    let call = Peer::new(1).call(server.now(), "poll", json!({}));
    let answer = server.send(Method::POST, "/rpc", &[], json!([call]).to_string()).await;
    result(&answer.body[0]);
    let page = [("origin", "https://page.example")];
    let body = json!({"info": "i", "offer": "o", "code": "c"}).to_string();
    let made = server.send(Method::POST, "/rpc/offer", &page, body).await;
    assert_eq!((made.status, made.body), (200, json!({"code": "c"})), "{}", made.text);
    let listed = server.send(Method::GET, "/rpc/sessions", &page, "").await;
    assert_eq!(listed.body["sessions"][0]["code"], "c", "{}", listed.text);
    let topics = server.send(Method::GET, "/topics", &page, "").await;
    assert_eq!(topics.body["topics"], json!([{"topic": "rpc", "count": 1}]));
}

async fn check(server: &Given, base: &str) {
    let path = format!("{base}/rpc");
    // A base address that ends in a slash makes two of them; and some name where `rpc` itself is.
    for path in [&path, &format!("{base}//rpc"), &format!("{path}/"), &format!("{path}/rpc")] {
        let call = Peer::new(1).call(server.now(), "poll", json!({}));
        let answer = server.send(Method::POST, path, &[], json!([call]).to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        result(&answer.body[0]);
    }
    let health = server.send(Method::GET, &format!("{path}/health"), &[], "").await;
    assert_eq!(health.body["timestamp"], server.now());
    let unsigned = server.send(Method::POST, &path, &[], r#"[{"method":"poll"}]"#).await;
    assert_eq!(error(&unsigned.body[0]).0, "AUTH_REQUIRED");
    let headers = [("origin", "https://app.example")];
    for (path, max_age, credentials) in
        [(path, "86400", None), (format!("{base}/offers"), "600", Some("true"))]
    {
        let preflight = server.send(Method::OPTIONS, &path, &headers, "").await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.header("access-control-max-age"), Some(max_age), "{path}");
        assert_eq!(preflight.header("access-control-allow-credentials"), credentials, "{path}");
    }
    let about = server.send(Method::GET, &format!("{base}/"), &[], "").await;
    assert!(about.text.contains("Topic-based peer discovery"), "{}", about.text);
    let registered = server.send(Method::POST, &format!("{base}/register"), &[], "{}").await;
    assert_eq!(registered.status, 200);
}
