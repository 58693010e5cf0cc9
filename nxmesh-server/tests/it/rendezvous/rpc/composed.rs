//! The protocol beside the others.

use nxmesh_server::rendezvous::{all, offers_with, with_rpc};
use reqwest::Method;
use serde_json::json;

use super::given::{Given, Peer, composed, result};

#[tokio::test]
async fn beside_the_other_protocols_it_is_where_clients_of_their_base_look() {
    let beside = composed(|rendezvous, settings| {
        with_rpc(offers_with(rendezvous.clone(), settings), &rendezvous, settings)
    });
    check(&beside.await, "").await;
    let nested = composed(|rendezvous, settings| all(&rendezvous, settings));
    check(&nested.await, "/rendezvous").await;
}

async fn check(server: &Given, base: &str) {
    let call = Peer::new(1).call(server.now(), "poll", json!({}));
    let path = format!("{base}/rpc");
    let answer = server.send(Method::POST, &path, &[], json!([call]).to_string()).await;
    result(&answer.body[0]);
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
