//! What calls of rendezvous look like on their way, and what is made of what comes back.

#![cfg(feature = "rendezvous")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::IntoResponse,
};
use nxmesh_client::{
    Error,
    rendezvous::{
        Credential, Discover, DiscoverOne, KeyPair, NewOffer, NewRpcOffer, PeerFilter, Poll,
        PublicKey, PublishOffer, RendezvousClient, Role, TopicFilter,
    },
};
use nxmesh_core::rendezvous::{canonical_json, verify};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// A server that answers what it was told to, and keeps what it was asked.
struct Scripted {
    client: RendezvousClient,
    asked: Arc<Mutex<VecDeque<Asked>>>,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    _server: JoinSet<()>,
}

/// A request: method and path, whom it says it is from, and its body.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    what: String,
    from: Option<String>,
    body: Value,
}

async fn scripted() -> Scripted {
    let asked = Arc::<Mutex<VecDeque<Asked>>>::default();
    let answers = Arc::<Mutex<VecDeque<(u16, String)>>>::default();
    let (heard, says) = (Arc::clone(&asked), Arc::clone(&answers));
    let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let from = headers.get("authorization").map(|it| it.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(&body).unwrap_or_default();
        heard.lock().unwrap().push_back(Asked { what: format!("{method} {uri}"), from, body });
        let (status, text) = says.lock().unwrap().pop_front().unwrap();
        (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")], text).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/rendezvous/", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    let routes = Router::new().fallback(answer);
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let me = Credential { peer_id: "me".to_owned(), secret: "s+/=".to_owned().into() };
    let client = RendezvousClient::new(base).unwrap().with_credential(me);
    Scripted { client, asked, answers, _server: server }
}

impl Scripted {
    fn answers(&self, status: u16, body: &Value) {
        let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        self.answers.lock().unwrap().push_back((status, text));
    }

    /// The request that came first of those that were not looked at.
    fn asked(&self) -> Asked {
        self.asked.lock().unwrap().pop_front().unwrap()
    }

    fn was_asked(&self, what: &str, body: Value) {
        let from = Some("Bearer me:s+/=".to_owned());
        assert_eq!(self.asked(), Asked { what: what.to_owned(), from, body });
    }
}

#[tokio::test]
async fn offers_are_made_found_answered_and_deleted_by_the_calls_of_the_contract() {
    let server = scripted().await;
    let offers = server.client.offers();
    server.answers(
        200,
        &json!({"offers": [{"id": "i", "peerId": "me", "topics": ["t"], "expiresAt": 7}]}),
    );
    let plain = NewOffer::new("v=0", ["t"]);
    let mut full = plain.clone();
    full.ttl = Some(Duration::from_millis(60_500));
    full.secret = Some("word".to_owned().into());
    (full.info, full.id) = (Some("eu".into()), Some("mine".into()));
    let made = offers.publish(&[plain, full]).await.unwrap();
    assert_eq!((made[0].id.as_str(), made[0].expires_at), ("i", 7));
    server.was_asked(
        "POST /rendezvous/offers",
        json!({"offers": [
            {"sdp": "v=0", "topics": ["t"]},
            {"sdp": "v=0", "topics": ["t"], "ttl": 60_500, "secret": "word", "info": "eu", "id": "mine"},
        ]}),
    );

    let found = json!({"id": "i", "peerId": "p", "sdp": "v=0", "topics": ["t"], "expiresAt": 7,
        "lastSeen": 5, "hasSecret": true, "info": "eu"});
    let page = json!({"topic": "a/b c", "offers": [found], "total": 42, "returned": 1});
    server.answers(200, &page);
    let mut known = PeerFilter::new(64);
    known.insert("a");
    let there = offers.by_topic("a/b c", Some(&known), Some(10)).await.unwrap();
    assert_eq!((there.total, there.offers[0].has_secret), (42, true));
    assert_eq!(there.offers[0].info.as_deref(), Some("eu"));
    let path = "GET /rendezvous/offers/by-topic/a%2Fb%20c?bloom=AAAEAAAQAIA%3D&limit=10";
    server.was_asked(path, Value::Null);

    let mut of_peer = json!({"peerId": "p", "offers": [found], "topics": ["t"]});
    of_peer["offers"][0].as_object_mut().unwrap().remove("peerId");
    server.answers(200, &of_peer);
    assert_eq!(offers.of_peer("p").await.unwrap(), there.offers);
    server.was_asked("GET /rendezvous/peers/p/offers", Value::Null);

    server.answers(
        200,
        &json!({"peerId": "me", "offers": [{"id": "i", "sdp": "v=0", "topics": [], "createdAt": 1,
            "expiresAt": 7, "lastSeen": 5, "secret": "word", "answererPeerId": "p", "answeredAt": 6}]}),
    );
    let mine = offers.mine().await.unwrap();
    assert_eq!((mine[0].answerer_peer_id.as_deref(), mine[0].answered_at), (Some("p"), Some(6)));
    server.was_asked("GET /rendezvous/offers/mine", Value::Null);

    server.answers(200, &json!({"id": "i", "lastSeen": 9}));
    assert_eq!(offers.heartbeat("i").await.unwrap(), 9);
    server.was_asked("PUT /rendezvous/offers/i/heartbeat", Value::Null);

    server.answers(200, &json!({"offerId": "i", "answererId": "me", "answeredAt": 8}));
    let secret = "word".to_owned().into();
    let answered = offers.answer("i", "v=1", Some(&secret)).await.unwrap();
    assert_eq!(answered.answered_at, 8);
    server.was_asked("POST /rendezvous/offers/i/answer", json!({"sdp": "v=1", "secret": "word"}));

    server.answers(
        200,
        &json!({"answers": [{"offerId": "i", "answererId": "p", "sdp": "v=1", "answeredAt": 8, "topics": []}]}),
    );
    let answers = offers.answers().await.unwrap();
    assert_eq!((answers[0].answerer_id.as_str(), answers[0].sdp.as_str()), ("p", "v=1"));
    server.was_asked("GET /rendezvous/offers/answers", Value::Null);

    server.answers(200, &json!({"deleted": true}));
    offers.delete("i/../j").await.unwrap();
    server.was_asked("DELETE /rendezvous/offers/i%2F..%2Fj", Value::Null);
}

#[tokio::test]
async fn candidates_and_topics_are_those_of_the_contract() {
    let server = scripted().await;
    server.answers(200, &json!({"offerId": "i", "candidatesAdded": 2}));
    let candidates = [json!({"candidate": "c"}), json!("text")];
    server.client.ice_candidates().add("i", &candidates).await.unwrap();
    server.was_asked(
        "POST /rendezvous/offers/i/ice-candidates",
        json!({"candidates": [{"candidate": "c"}, "text"]}),
    );
    server.answers(
        200,
        &json!({"offerId": "i", "candidates": [
            {"candidate": null, "peerId": "p", "role": "answerer", "createdAt": 11},
        ]}),
    );
    let came = server.client.ice_candidates().since("i", 10).await.unwrap();
    let came = (&came[0].candidate, came[0].role, came[0].created_at);
    assert_eq!(came, (&Value::Null, Role::Answerer, 11));
    server.was_asked("GET /rendezvous/offers/i/ice-candidates?since=10", Value::Null);

    server.answers(
        200,
        &json!({"topics": [{"topic": "t", "activePeers": 3}], "total": 9, "limit": 5, "offset": 2,
            "startsWith": "a&b"}),
    );
    let mut filter = TopicFilter::default();
    (filter.starts_with, filter.limit, filter.offset) = (Some("a&b".into()), Some(5), 2);
    let topics = server.client.topics().list(&filter).await.unwrap();
    assert_eq!((topics.topics[0].active_peers, topics.total), (3, 9));
    server.was_asked("GET /rendezvous/topics?offset=2&limit=5&startsWith=a%26b", Value::Null);
}

#[tokio::test]
async fn a_new_peer_is_what_register_answers() {
    let server = scripted().await;
    server.answers(200, &json!({"peerId": "p", "secret": "s"}));
    let new = server.client.register().await.unwrap();
    assert_eq!((new.peer_id.as_str(), new.secret.expose().as_str()), ("p", "s"));
    assert_eq!(server.asked().what, "POST /rendezvous/register");
    assert!(!format!("{:?}", server.client.with_credential(new)).contains("\"s\""));
}

#[tokio::test]
async fn an_error_keeps_the_servers_text() {
    let server = scripted().await;
    server.answers(404, &json!({"error": "Offer not found or expired"}));
    let error = server.client.offers().heartbeat("i").await.unwrap_err();
    assert_eq!(error.to_string(), "Offer not found or expired");
    assert!(error.is_not_found() && error.rendezvous().unwrap().status == 404);
    for (text, gone, late) in [
        ("Offer not found or expired", true, false),
        ("Offer already answered", false, true),
        ("Offer already answered (race condition)", false, true),
        ("Invalid or missing secret", false, false),
    ] {
        server.answers(400, &json!({"error": text}));
        let error = server.client.offers().answer("i", "v=1", None).await.unwrap_err();
        let told = error.rendezvous().unwrap();
        assert_eq!((told.message.as_str(), told.status), (text, 400));
        assert_eq!((error.is_not_found(), told.is_already_answered()), (gone, late), "{text}");
    }
    // What no route has is no offer that is gone.
    for page in ["404 Not Found", ""] {
        server.answers(404, &json!(page));
        let error = server.client.offers().mine().await.unwrap_err();
        assert!(matches!(error, Error::NoRendezvous(_)) && !error.is_not_found());
        let (told, end) = (error.to_string(), "/rendezvous/offers/mine (404): ");
        assert!(told.starts_with("rendezvous is not at http://") && told.contains(end), "{told}");
    }
}

#[tokio::test]
async fn what_was_not_let_in_or_may_be_done_twice_is_repeated() {
    let server = scripted().await;
    let busy = |status| server.answers(status, &json!({"error": "Too many requests"}));
    let published = json!({"offers": [
        {"id": "i", "peerId": "me", "topics": [], "expiresAt": 7}]});
    busy(503);
    server.answers(200, &published);
    server.client.offers().publish(&[NewOffer::new("v=0", ["t"])]).await.unwrap();
    busy(429);
    server.answers(200, &json!({"offerId": "i", "answererId": "me", "answeredAt": 8}));
    server.client.offers().answer("i", "v=1", None).await.unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 4);
    // It may have been done: who sends it again sends it twice.
    busy(503);
    let error = server.client.ice_candidates().add("i", &["c"]).await.unwrap_err();
    assert_eq!(error.rendezvous().unwrap().status, 503);
}

/// Whether a call is signed by its key, for these parameters.
fn is_signed(call: &Value, method: &str, params: &Value) -> bool {
    assert_eq!((&call["method"], &call["params"]), (&json!(method), params));
    let auth = &call["auth"];
    let key = PublicKey::parse(auth["publicKey"].as_str().unwrap()).unwrap();
    let (nonce, params) = (auth["nonce"].as_str().unwrap(), canonical_json(params).unwrap());
    let message = format!("{}:{nonce}:{method}:{params}", auth["timestamp"]);
    uuid::Uuid::parse_str(nonce).unwrap().get_version_num() == 4
        && verify(&key, &message, auth["signature"].as_str().unwrap())
}

#[tokio::test]
async fn calls_of_rpc_are_signed_each_and_fail_each() {
    let server = scripted().await;
    let rpc = server.client.rpc(KeyPair::generate());
    let mut batch = rpc.batch();
    let published = batch
        .add(&PublishOffer {
            tags: vec!["b".into(), "a".into()],
            offers: vec![NewRpcOffer { sdp: "v=0\r\n".into() }],
            ttl: Some(300_000),
        })
        .unwrap();
    let one = batch.add(&DiscoverOne { tags: vec!["a".into()] }).unwrap();
    let polled = batch.add(&Poll { since: None }).unwrap();
    server.answers(
        200,
        &json!([
            {"success": true, "result": {"publicKey": "k", "tags": [], "createdAt": 1, "expiresAt": 9,
                "offers": [{"offerId": "i", "sdp": "v=0", "createdAt": 1, "expiresAt": 9}]}},
            {"success": false, "error": "No offers found matching tags", "errorCode": "OFFER_NOT_FOUND"},
            {"success": true, "result": {
                "answers": [{"offerId": "i", "answererPublicKey": "o", "sdp": "v=1", "answeredAt": 3}],
                "iceCandidates": {"i": [{"id": 1, "offerId": "i", "publicKey": "o", "role": "answerer",
                    "candidate": {"candidate": "c"}, "createdAt": 4}]}}},
        ]),
    );
    let mut answers = batch.send().await.unwrap();
    assert_eq!(answers.take(published).unwrap().offers[0].offer_id, "i");
    let error = answers.take(one).unwrap_err();
    assert_eq!(error.to_string(), "No offers found matching tags (OFFER_NOT_FOUND)");
    assert!(error.is_not_found());
    let polled = answers.take(polled).unwrap();
    assert_eq!((polled.last(), polled.ice_candidates["i"][0].role), (Some(4), Role::Answerer));

    let Asked { what, body, .. } = server.asked();
    assert_eq!(what, "POST /rendezvous/rpc");
    let sdp = json!({"tags": ["b", "a"], "offers": [{"sdp": "v=0\r\n"}], "ttl": 300_000});
    assert!(is_signed(&body[0], "publishOffer", &sdp));
    assert!(is_signed(&body[1], "discover", &json!({"tags": ["a"]})));
    assert!(is_signed(&body[2], "poll", &json!({})));
    assert_ne!(body[0]["auth"]["nonce"], body[1]["auth"]["nonce"]);
    assert_eq!(body[0]["auth"]["publicKey"], rpc.public_key().as_str());
}

#[tokio::test]
async fn a_request_of_rpc_that_fails_whole_is_told_whole() {
    let server = scripted().await;
    let rpc = server.client.rpc(KeyPair::generate());
    let text = "Too many requests in batch (max 100)";
    let refused = json!([{"success": false, "error": text, "errorCode": "BATCH_TOO_LARGE"}]);
    server.answers(413, &refused);
    let page = Discover { tags: vec!["a".into()], limit: 10, offset: 0 };
    let error = rpc.call(&page).await.unwrap_err();
    let told = error.rendezvous().unwrap();
    assert_eq!((told.status, told.code.as_deref()), (413, Some("BATCH_TOO_LARGE")));
    assert_eq!(told.message, text);
    // As many answers as calls: anything else is none of ours.
    server.answers(200, &json!("[]"));
    assert!(matches!(rpc.call(&page).await, Err(Error::Answer { .. })));
}
