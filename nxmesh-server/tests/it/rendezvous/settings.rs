//! What may be set is obeyed.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::given::{Answer, Given, On, Setup, answer, on_each_store};

const HERE: &str = "https://a.example";

fn offers(count: usize) -> Vec<Value> {
    (0..count).map(|it| json!({"sdp": it.to_string(), "topics": ["t"]})).collect()
}

/// A refusal that will not last.
fn check_full(refused: &Answer, why: &str) {
    assert_eq!(refused.refusal(), (503, why));
    assert_eq!(refused.headers["retry-after"], "1");
}

async fn offers_are_as_many_and_live_as_long_as_it_is_set(on: On) {
    let mut setup = Setup::on(on).await;
    (setup.settings.max_offers_per_request, setup.settings.max_topics_per_offer) = (2, 3);
    (setup.settings.min_ttl, setup.settings.max_ttl) = (1_000, 9_000);
    setup.settings.default_ttl = 5_000;
    let given = setup.offers().await;
    let peer = given.peer().await;
    let made = given.post("/offers", &peer, &json!({"offers": offers(2)})).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let refused = given.post("/offers", &peer, &json!({"offers": offers(3)})).await;
    assert_eq!(refused.refusal(), (400, "Too many offers. Maximum 2 per request"));
    let of =
        |topics: Value, ttl: Value| json!({"offers": [{"sdp": "v", "topics": topics, "ttl": ttl}]});
    let refused = given.post("/offers", &peer, &of(json!(["a", "b", "c", "d"]), json!(0))).await;
    assert_eq!(refused.refusal(), (400, "Too many topics. Maximum 3 per offer"));
    for (ttl, lives) in [(0, 5_000), (999, 1_000), (1_001, 1_001), (9_001, 9_000)] {
        let made = given.post("/offers", &peer, &of(json!(["a", "b", "c"]), json!(ttl))).await;
        let expires = made.body["offers"][0]["expiresAt"].as_i64().unwrap();
        assert_eq!(expires - given.rendezvous.now(), lives, "{ttl}");
    }
}

async fn there_are_no_more_offers_than_may_be(on: On) {
    let mut setup = Setup::on(on).await;
    (setup.settings.max_offers_per_peer, setup.settings.max_offers) = (2, 3);
    let given = setup.offers().await;
    let (one, other) = (given.peer().await, given.peer().await);
    given.publish(&one, json!(offers(2))).await;
    // The same once more are no more.
    given.publish(&one, json!(offers(2))).await;
    let refused = given.post("/offers", &one, &json!({"offers": offers(3)})).await;
    assert_eq!(refused.refusal(), (400, "Too many offers. Maximum 2 live offers per peer"));
    let two = json!([
        {"sdp": "a", "topics": ["u"], "id": "a"}, {"sdp": "b", "topics": ["u"], "id": "b"},
    ]);
    let full = "Too many offers on this server. Try again later";
    check_full(&given.post("/offers", &other, &json!({"offers": two})).await, full);
    assert_eq!(given.look("/offers/by-topic/u").await.body["total"], 0, "all or none");
    given.publish(&other, json!([two[0]])).await;
    check_full(&given.post("/offers", &other, &json!({"offers": [two[1]]})).await, full);
    assert_eq!(given.send(Method::DELETE, "/offers/a", Some(&other), "").await.status, 200);
    given.publish(&other, json!([two[1]])).await;
    // What has expired is in nobody's way, swept or not.
    setup.clock.advance(TimeDelta::milliseconds(300_000));
    given.publish(&other, two).await;
}

async fn there_are_no_more_sessions_than_may_be_for_as_long_as_it_is_set(on: On) {
    let mut setup = Setup::on(on).await;
    (setup.settings.max_offers, setup.settings.session_ttl) = (2, 7_000);
    let given = setup.origin().await;
    let ask = async |given: &Given, method: Method, path: &str| {
        let body = json!({"info": "i", "offer": "o"}).to_string();
        answer(given.request(method, path).header("origin", HERE).body(body)).await
    };
    for _ in 0..2 {
        assert_eq!(ask(&given, Method::POST, "/t/offer").await.status, 200);
    }
    let full = "Too many sessions on this server. Try again later";
    check_full(&ask(&given, Method::POST, "/t/offer").await, full);
    let listed = ask(&given, Method::GET, "/t/sessions").await.body;
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed["sessions"][0]["expiresAt"], given.rendezvous.now() + 7_000);
    setup.clock.advance(TimeDelta::milliseconds(6_999));
    check_full(&ask(&given, Method::POST, "/t/offer").await, full);
    setup.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(ask(&given, Method::POST, "/t/offer").await.status, 200);
}

on_each_store! {
    offers_are_as_many_and_live_as_long_as_it_is_set,
    there_are_no_more_offers_than_may_be,
    there_are_no_more_sessions_than_may_be_for_as_long_as_it_is_set,
}

#[tokio::test]
async fn what_is_wrong_with_an_offer_is_told_in_order() {
    let given = Setup::on(On::Memory).await.offers().await;
    let peer = given.peer().await;
    let long = "x".repeat(65_537);
    let mut offer = json!({
        "sdp": "", "secret": 7, "info": 7, "topics": [], "ttl": "soon",
    });
    // Each is wrong in all that comes after it as well.
    for (field, value, why) in [
        ("none", json!(1), "Each offer must have an sdp field"),
        ("sdp", json!(long), "SDP must be 64KB or less"),
        ("sdp", json!("v=0"), "Secret must be a string"),
        ("secret", json!("s".repeat(129)), "Secret must be 128 characters or less"),
        ("secret", json!("s"), "Info must be a string"),
        ("info", json!("i".repeat(129)), "Info must be 128 characters or less"),
        ("info", json!("i"), "Each offer must have a non-empty topics array"),
        ("topics", json!(vec![""; 51]), "Too many topics. Maximum 50 per offer"),
        ("topics", json!([""]), "Each topic must be a string between 1 and 256 characters"),
        ("topics", json!(["t"]), "TTL must be a number"),
    ] {
        offer[field] = value;
        let refused = given.post("/offers", &peer, &json!({"offers": [offer, null]})).await;
        assert_eq!(refused.refusal(), (400, why));
    }
    offer["ttl"] = json!(0);
    let refused = given.post("/offers", &peer, &json!({"offers": [offer, null]})).await;
    assert_eq!(refused.refusal(), (400, "Each offer must have an sdp field"), "null is none");
    let many = json!({"offers": vec![Value::Null; 101]});
    let refused = given.post("/offers", &peer, &many).await;
    assert_eq!(refused.refusal(), (400, "Too many offers. Maximum 100 per request"));
    given.publish(&peer, json!([offer])).await;
}
