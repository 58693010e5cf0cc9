//! What is counted, as Prometheus reads it.

use nxmesh_server::rendezvous::{metrics, offers_with, rpc_with};
use reqwest::Method;
use serde_json::json;

use super::{
    given::{Given, On, Setup},
    listener::{By, Listener},
};

/// The value of the one line that begins so.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|it| it.parse().unwrap())
}

async fn scrape(given: &Given) -> String {
    let answer = given.look("/metrics").await;
    assert_eq!(answer.status, 200);
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(answer.text.ends_with("# EOF\n"), "{}", answer.text);
    answer.text
}

#[tokio::test]
async fn requests_offers_listeners_and_calls_of_the_store_are_counted() {
    let setup = Setup::on(On::Memory).await;
    let given = setup
        .serve(|rendezvous, settings| {
            let rpc = rpc_with(rendezvous.clone(), settings);
            let offers = offers_with(rendezvous.clone(), settings);
            metrics(rendezvous, settings).nest_service("/rpc", rpc).fallback_service(offers)
        })
        .await;
    let peer = given.peer().await;
    given.publish(&peer, json!([{"sdp": "a secret topic", "topics": ["t"]}])).await;
    given.publish(&peer, json!([{"sdp": "v=1", "topics": ["t"]}])).await;
    assert_eq!(given.look("/offers/mine").await.status, 401);
    assert_eq!(given.send(Method::POST, "/rpc", None, "[]").await.status, 400);
    let bearer = format!("Bearer {}", peer.credential);
    let headers = [("authorization", bearer.as_str())];
    let listener = Listener::open(By::ServerSentEvents, &given, "/events", &headers).await;
    let text = scrape(&given).await;
    let requests = |protocol: &str, status: &str| {
        let labels = format!("protocol=\"{protocol}\",status=\"{status}\"");
        value(&text, &format!("nxmesh_rendezvous_request_duration_seconds_count{{{labels}}}"))
    };
    assert_eq!(requests("offers", "2xx"), Some(4.0), "{text}");
    assert_eq!(requests("offers", "4xx"), Some(1.0), "{text}");
    assert_eq!(requests("rpc", "4xx"), Some(1.0), "{text}");
    let offers = |protocol: &str| {
        value(&text, &format!("nxmesh_rendezvous_offers{{protocol=\"{protocol}\"}}"))
    };
    assert_eq!((offers("offers"), offers("rpc")), (Some(2.0), Some(0.0)), "{text}");
    assert_eq!(value(&text, "nxmesh_rendezvous_listeners"), Some(1.0), "{text}");
    let calls = "{operation=\"rendezvous.publish\"}";
    let calls = format!("nxmesh_rendezvous_store_call_duration_seconds_count{calls}");
    assert_eq!(value(&text, &calls), Some(2.0), "{text}");
    // Nobody is named.
    for named in [&*peer.id, "secret topic", "Bearer"] {
        assert!(!text.contains(named), "{text}");
    }
    drop(listener);
    while value(&scrape(&given).await, "nxmesh_rendezvous_listeners") != Some(0.0) {
        tokio::task::yield_now().await;
    }
}
