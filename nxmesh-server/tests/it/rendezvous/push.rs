//! Push to clients that do what is not quite usual.

use std::time::Duration;

use chrono::TimeDelta;
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::{
    given::{On, Peer, Setup, answer, offers_frozen, on_each_store},
    listener::{BOTH, By, Listener},
};

/// How long to wait for what should have come long before.
const PATIENCE: Duration = Duration::from_secs(60);

async fn a_client_that_never_stops_talking_is_told_all_the_same(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let id = given.offer(&owner, "v=0").await;
    given.answer(&other, &id, "v=1").await;
    let token = owner.credential.replace('+', "%2B");
    let url = format!("ws://{}/events?access_token={token}", given.address);
    let (socket, _) = connect_async(url).await.unwrap();
    let (mut outgoing, mut incoming) = socket.split();
    let talking =
        async { while outgoing.feed(Message::Pong("still here".into())).await.is_ok() {} };
    let hearing = async {
        loop {
            if let Message::Text(text) = incoming.next().await.unwrap().unwrap() {
                break serde_json::from_str::<Value>(&text).unwrap();
            }
        }
    };
    let heard = async {
        tokio::select! {
            () = talking => panic!("it hung up"),
            heard = hearing => heard,
        }
    };
    let heard = timeout(PATIENCE, heard).await.expect("nothing was said");
    assert_eq!((&heard["type"], &heard["sdp"]), (&json!("answer"), &json!("v=1")));
}

async fn the_end_of_a_session_is_pushed_to_its_offerer(on: On) {
    let mut setup = Setup::on(on).await;
    setup.settings.sweep_interval = Duration::from_millis(20);
    let given = setup.origin().await;
    let page = [("origin", "https://a.example")];
    let body = json!({"info": "ann", "offer": "o", "code": "c"}).to_string();
    let made = given.request(Method::POST, "/t/offer").header("origin", page[0].1);
    assert_eq!(answer(made.body(body)).await.status, 200);
    let mut listeners = Vec::new();
    for by in BOTH {
        listeners.push(Listener::open(by, &given, "/events?code=c&side=offerer", &page).await);
    }
    setup.clock.advance(TimeDelta::milliseconds(300_000));
    for listener in &mut listeners {
        let expired = json!({"type": "offer.expired", "offerId": "c"});
        assert_eq!(listener.hear().await, expired);
    }
}

on_each_store! {
    a_client_that_never_stops_talking_is_told_all_the_same,
    the_end_of_a_session_is_pushed_to_its_offerer,
}

#[tokio::test]
async fn a_plus_that_was_not_escaped_is_a_plus() {
    let (given, _) = offers_frozen(On::Memory).await;
    let peer = Peer::known();
    assert!(peer.credential.contains('+'));
    for by in BOTH {
        for token in [peer.credential.clone(), peer.credential.replace('+', "%2B")] {
            let path = format!("/events?access_token={token}");
            let opened = Listener::try_open(by, &given, &path, &[]).await;
            assert!(opened.is_ok(), "{by:?} {path}");
        }
    }
}

/// As the client of Java's own library does, and `curl --http2`.
#[tokio::test]
async fn who_offers_another_protocol_is_told_by_server_sent_events() {
    let (given, _) = offers_frozen(On::Memory).await;
    let peer = given.peer().await;
    let bearer = format!("Bearer {}", peer.credential);
    let headers = [
        ("authorization", bearer.as_str()),
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    ];
    let listener = Listener::open(By::ServerSentEvents, &given, "/events", &headers).await;
    assert_eq!(listener.headers["content-type"], "text/event-stream");
    // Half an upgrade to a WebSocket is none.
    let half = given.request(Method::GET, "/events").bearer_auth(&peer.credential);
    let half = answer(half.header("connection", "upgrade").header("upgrade", "websocket")).await;
    assert_eq!(half.refusal(), (400, "Upgrade must be websocket, by GET and HTTP/1.1"));
}
