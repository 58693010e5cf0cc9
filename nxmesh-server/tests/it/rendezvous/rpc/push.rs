//! Push, in the terms of the protocol.

use nxmesh_server::rendezvous::rpc_with;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        given::{Answer, Given, NOW, On, Setup, on_each_store},
        listener::{BOTH, By, Listener},
    },
    given::{Peer, result},
};

/// What proves who listens, as parameters of a URL.
fn proof(peer: &Peer) -> String {
    let auth = peer.auth_of(NOW, &Uuid::new_v4().to_string(), "events", "{}");
    let field = |name: &str| match &auth[name] {
        Value::String(text) => format!("{name}={}", text.replace('+', "%2B")),
        other => format!("{name}={other}"),
    };
    ["publicKey", "timestamp", "nonce", "signature"].map(field).join("&")
}

async fn listen(by: By, given: &Given, query: &str) -> Result<Listener, Answer> {
    Listener::try_open(by, given, &format!("/events?{query}"), &[]).await
}

async fn call(given: &Given, peer: &Peer, method: &str, params: Value) -> Value {
    let body = json!([peer.call(NOW, method, params)]).to_string();
    result(&given.send(Method::POST, "/", None, body).await.body[0]).clone()
}

async fn publish(given: &Given, peer: &Peer, tag: &str) -> String {
    let offer = json!({"tags": [tag], "offers": [{"sdp": "v=0"}], "ttl": 60_000});
    let made = call(given, peer, "publishOffer", offer).await;
    made["offers"][0]["offerId"].as_str().unwrap().to_owned()
}

/// An event that says what one of the protocol's answers has.
fn event(name: &str, of: &Value) -> Value {
    let mut event = of.clone();
    event["type"] = json!(name);
    event
}

async fn what_reaches_a_key_is_pushed_as_poll_has_it(on: On) {
    let setup = Setup::on(on).await;
    let given = setup.serve(rpc_with).await;
    for (by, number) in BOTH.into_iter().zip([1, 3]) {
        let (owner, other) = (Peer::new(number), Peer::new(number + 1));
        let mut to_owner = listen(by, &given, &proof(&owner)).await.unwrap();
        let mut follower =
            listen(by, &given, &format!("{}&tags=x,b", proof(&other))).await.unwrap();
        let id = publish(&given, &owner, "b").await;
        let found = call(&given, &other, "discover", json!({"tags": ["b"], "limit": 1})).await;
        let offer = json!({"type": "offer", "tag": "b", "offer": found["offers"][0]});
        assert_eq!(follower.hear().await, offer);
        let answer = json!({"offerId": id, "sdp": "v=1", "matchedTags": ["b"]});
        call(&given, &other, "answerOffer", answer).await;
        let candidates = json!({"offerId": id, "candidates": [{"candidate": "c"}]});
        call(&given, &other, "addIceCandidates", candidates).await;
        let polled = call(&given, &owner, "poll", json!({})).await;
        assert_eq!(to_owner.hear().await, event("answer", &polled["answers"][0]));
        let candidate = event("candidate", &polled["iceCandidates"][&id][0]);
        assert_eq!(to_owner.hear().await, candidate);
        // Whoever comes again goes on.
        let since = format!("{}&since={}", proof(&owner), polled["answers"][0]["answeredAt"]);
        assert_eq!(listen(by, &given, &since).await.unwrap().hear().await, candidate);
    }
}

async fn the_end_of_an_offer_is_pushed_to_its_key(on: On) {
    let mut setup = Setup::on(on).await;
    setup.settings.sweep_interval = std::time::Duration::from_millis(20);
    let given = setup.serve(rpc_with).await;
    let owner = Peer::new(1);
    let mut listener = listen(By::ServerSentEvents, &given, &proof(&owner)).await.unwrap();
    let id = publish(&given, &owner, "a").await;
    setup.clock.advance(chrono::TimeDelta::milliseconds(60_000));
    assert_eq!(listener.hear().await, json!({"type": "offer.expired", "offerId": id}));
}

async fn a_proof_is_good_once(on: On) {
    let given = Setup::on(on).await.serve(rpc_with).await;
    for by in BOTH {
        let proof = proof(&Peer::new(1));
        listen(by, &given, &proof).await.unwrap();
        let again = listen(by, &given, &proof).await.err().unwrap();
        let why = "Nonce already used (replay attack detected)";
        assert_eq!(again.whole(), (401, json!({"error": why})));
    }
}

on_each_store! {
    what_reaches_a_key_is_pushed_as_poll_has_it,
    the_end_of_an_offer_is_pushed_to_its_key,
    a_proof_is_good_once,
}

#[tokio::test]
async fn who_proves_nothing_hears_nothing() {
    let given = Setup::on(On::Memory).await.serve(rpc_with).await;
    let peer = Peer::new(1);
    let of_another_method = peer.auth(NOW, &Uuid::new_v4().to_string(), "poll", &json!({}));
    let text = |name: &str| of_another_method[name].as_str().unwrap();
    let stamp = NOW.to_string();
    let stolen = [
        ("x-publickey", text("publicKey")),
        ("x-timestamp", &stamp),
        ("x-nonce", text("nonce")),
        ("x-signature", text("signature")),
    ];
    let missing = "Missing or invalid publicKey (provide in request.auth or X-PublicKey header)";
    for by in BOTH {
        let refused = listen(by, &given, "").await.err().unwrap();
        assert_eq!(refused.whole(), (401, json!({"error": missing})));
        let refused = Listener::try_open(by, &given, "/events", &stolen).await.err().unwrap();
        assert_eq!(refused.whole(), (401, json!({"error": "Invalid signature"})));
        let many = vec!["t"; 51].join(",");
        let refused = listen(by, &given, &format!("{}&tags={many}", proof(&peer))).await;
        let why = "Too many tags. Maximum 50 per listener";
        assert_eq!(refused.err().unwrap().whole(), (400, json!({"error": why})));
    }
    // What proves it may stand in headers too.
    let auth = peer.auth_of(NOW, &Uuid::new_v4().to_string(), "events", "{}");
    let text = |name: &str| auth[name].as_str().unwrap();
    let headers = [
        ("x-publickey", text("publicKey")),
        ("x-timestamp", &stamp),
        ("x-nonce", text("nonce")),
        ("x-signature", text("signature")),
    ];
    Listener::open(By::ServerSentEvents, &given, "/events", &headers).await;
}
