//! A store that is away for a while.

use nxmesh_core::{
    conformance::postgres::{Cluster, Durability as Cautious},
    rendezvous::Durability,
    store::postgres::PostgresRendezvous,
};
use nxmesh_server::rendezvous::{offers_with, origin_with, rpc_with};
use reqwest::Method;
use serde_json::json;

use super::given::{Answer, Given, Setup, answer};

async fn ask(given: &Given, method: &Method, path: &str, body: &str) -> Answer {
    let peer = super::given::Peer::known();
    let request = given.request(method.clone(), path).bearer_auth(&peer.credential);
    answer(request.header("origin", "https://a.example").body(body.to_owned())).await
}

/// Who polls goes away for good when it is told that something is `not found`: it must not be told so of what is
/// only away.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_while_the_store_is_away_is_told_to_come_again() {
    let mut cluster = Cluster::start(Cautious::Relaxed);
    let url = cluster.url("postgres");
    let store = PostgresRendezvous::open(&url, Durability::Durable).await.unwrap();
    let setup = Setup::of(store);
    let (offers, origin) = (setup.serve(offers_with).await, setup.serve(origin_with).await);
    let rpc = setup.serve(rpc_with).await;
    let offer = json!({"offers": [{"sdp": "v=0", "topics": ["t"]}]}).to_string();
    let session = json!({"info": "i", "offer": "o"}).to_string();
    let side = json!({"code": "c", "side": "offerer", "candidate": 1}).to_string();
    let answering = json!({"sdp": "v=1", "candidates": [1]}).to_string();
    let batch = json!([{"method": "countOffersByTags", "params": {"tags": ["a"]}}]).to_string();
    let (get, post) = (Method::GET, Method::POST);
    let requests = [
        (&offers, &post, "/offers", &offer),
        (&offers, &get, "/offers/by-topic/t", &offer),
        (&offers, &get, "/topics", &offer),
        (&offers, &get, "/offers/mine", &offer),
        (&offers, &get, "/offers/answers", &offer),
        (&offers, &post, "/offers/x/answer", &answering),
        (&offers, &post, "/offers/x/ice-candidates", &answering),
        (&offers, &get, "/offers/x/ice-candidates", &offer),
        (&offers, &Method::PUT, "/offers/x/heartbeat", &offer),
        (&offers, &Method::DELETE, "/offers/x", &offer),
        (&origin, &post, "/t/offer", &session),
        (&origin, &get, "/t/sessions", &session),
        (&origin, &get, "/topics", &session),
        (&origin, &post, "/answer", &side),
        (&origin, &post, "/poll", &side),
    ];
    cluster.stop();
    for (given, method, path, body) in requests {
        let away = ask(given, method, path, body).await;
        assert_eq!((away.status, &away.headers["retry-after"]), (503, &"1".parse().unwrap()));
        let why = away.body["error"].as_str().unwrap();
        assert!(!why.is_empty() && !why.contains("not found"), "{path}: {why}");
    }
    let away = ask(&rpc, &post, "/rpc", &batch).await;
    assert_eq!((away.status, &away.body[0]["errorCode"]), (200, &json!("INTERNAL_ERROR")));
    // What needs no store is answered as ever.
    for (path, method) in [("/register", &post), ("/health", &get), ("/", &get)] {
        assert_eq!(ask(&offers, method, path, "{}").await.status, 200, "{path}");
    }
    cluster.restart();
    while ask(&offers, &get, "/topics", "").await.status == 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&offers, &post, "/offers", &offer).await.status, 200);
    assert_eq!(ask(&rpc, &post, "/rpc", &batch).await.body[0]["success"], true);
}
