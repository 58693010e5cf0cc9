//! Every limit of the protocol `offers`, at its edge and one beyond: lengths are in UTF-16 code units.

use reqwest::Method;
use serde_json::{Value, json};

use super::given::{Given, Peer, offers};

/// Two code units each, and four bytes.
const EMOJI: &str = "😀";

/// An offer of which one field is this.
fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut offer = json!({"sdp": "v=0", "topics": ["t"]});
    offer[field] = value.into();
    json!({"offers": [offer]})
}

fn without(field: &str) -> Value {
    let mut body = with("info", "i");
    body["offers"][0].as_object_mut().unwrap().remove(field);
    body
}

async fn check(given: &Given, path: &str, peer: &Peer, body: &Value, wanted: (u16, &str)) {
    let answer = given.post(path, peer, body).await;
    let (status, why) = wanted;
    let shown: String = body.to_string().chars().take(200).collect();
    let said = answer.body["error"].as_str().unwrap_or_default();
    assert_eq!((answer.status, said), (status, why), "{shown}");
}

const NO_SDP: (u16, &str) = (400, "Each offer must have an sdp field");
const LONG_SDP: (u16, &str) = (400, "SDP must be 64KB or less");
const SECRET: (u16, &str) = (400, "Secret must be a string");
const LONG_SECRET: (u16, &str) = (400, "Secret must be 128 characters or less");
const INFO: (u16, &str) = (400, "Info must be a string");
const LONG_INFO: (u16, &str) = (400, "Info must be 128 characters or less");
const NO_TOPICS: (u16, &str) = (400, "Each offer must have a non-empty topics array");
const TOPICS: (u16, &str) = (400, "Too many topics. Maximum 50 per offer");
const TOPIC: (u16, &str) = (400, "Each topic must be a string between 1 and 256 characters");
const NO_OFFERS: (u16, &str) =
    (400, "Missing or invalid required parameter: offers (must be non-empty array)");
const OFFERS: (u16, &str) = (400, "Too many offers. Maximum 100 per request");
const TTL: (u16, &str) = (400, "TTL must be a number");
const MADE: (u16, &str) = (200, "");

#[tokio::test]
async fn an_offer_is_taken_up_to_each_limit_and_refused_beyond() {
    let given = offers().await;
    let peer = given.peer().await;
    let topics = |count: usize| (0..count).map(|it| it.to_string()).collect::<Vec<_>>();
    for (body, wanted) in [
        (without("sdp"), NO_SDP),
        (with("sdp", ""), NO_SDP),
        (with("sdp", 7), NO_SDP),
        (with("sdp", Value::Null), NO_SDP),
        (with("sdp", "a".repeat(65_536)), MADE),
        (with("sdp", "a".repeat(65_537)), LONG_SDP),
        (with("sdp", "é".repeat(65_536)), MADE),
        (with("sdp", EMOJI.repeat(32_768)), MADE),
        (with("sdp", EMOJI.repeat(32_768) + "a"), LONG_SDP),
        (with("secret", Value::Null), SECRET),
        (with("secret", 7), SECRET),
        (with("secret", ""), MADE),
        (with("secret", "s".repeat(128)), MADE),
        (with("secret", "s".repeat(129)), LONG_SECRET),
        (with("secret", EMOJI.repeat(64)), MADE),
        (with("secret", EMOJI.repeat(64) + "s"), LONG_SECRET),
        (with("info", Value::Null), INFO),
        (with("info", json!({})), INFO),
        (with("info", ""), MADE),
        (with("info", "i".repeat(128)), MADE),
        (with("info", "i".repeat(129)), LONG_INFO),
        (with("info", EMOJI.repeat(64)), MADE),
        (with("info", EMOJI.repeat(64) + "i"), LONG_INFO),
        (without("topics"), NO_TOPICS),
        (with("topics", json!([])), NO_TOPICS),
        (with("topics", "t"), NO_TOPICS),
        (with("topics", json!({"0": "t"})), NO_TOPICS),
        (with("topics", topics(50)), MADE),
        (with("topics", topics(51)), TOPICS),
        (with("topics", json!(["t", ""])), TOPIC),
        (with("topics", json!(["t", 7])), TOPIC),
        (with("topics", json!(["t", null])), TOPIC),
        (with("topics", json!(["t".repeat(256)])), MADE),
        (with("topics", json!(["t".repeat(257)])), TOPIC),
        (with("topics", json!([EMOJI.repeat(128)])), MADE),
        (with("topics", json!([EMOJI.repeat(128) + "t"])), TOPIC),
        (with("topics", json!(["twice", "twice"])), MADE),
        (with("ttl", Value::Null), MADE),
        (with("ttl", 0), MADE),
        (with("ttl", -1), MADE),
        (with("ttl", 60_000.9), MADE),
        (with("ttl", 1e300), MADE),
        (with("ttl", -1e300), MADE),
        (with("ttl", "60000"), MADE),
        (with("ttl", "soon"), TTL),
        (with("ttl", json!([])), TTL),
        (with("ttl", true), TTL),
        (json!({"offers": []}), NO_OFFERS),
        (json!({"offers": {}}), NO_OFFERS),
        (json!({"offers": null}), NO_OFFERS),
        (json!({}), NO_OFFERS),
        (json!([]), NO_OFFERS),
        (json!("offers"), NO_OFFERS),
        (json!({"offers": [7]}), NO_SDP),
        (json!({"offers": [[]]}), NO_SDP),
    ] {
        // The same offer once more, of the same peer, is taken as well.
        check(&given, "/offers", &peer, &body, wanted).await;
    }
}

#[tokio::test]
async fn the_first_offer_that_is_wrong_refuses_all() {
    let given = offers().await;
    let peer = given.peer().await;
    let many = |count: usize| (0..count).map(|it| json!({"sdp": it.to_string(), "topics": ["t"]}));
    let made =
        given.post("/offers", &peer, &json!({"offers": many(100).collect::<Vec<_>>()})).await;
    assert_eq!(made.body["offers"].as_array().map(Vec::len), Some(100), "{}", made.text);
    let other = given.peer().await;
    let body = json!({"offers": many(101).collect::<Vec<_>>()});
    check(&given, "/offers", &other, &body, OFFERS).await;
    let mut some: Vec<_> = many(10).collect();
    (some[3]["info"], some[7]["sdp"]) = (json!(7), json!(7));
    check(&given, "/offers", &other, &json!({"offers": some}), INFO).await;
    let mine = given.get("/offers/mine", &other).await;
    assert_eq!(mine.body["offers"], json!([]), "{}", mine.text);
}

#[tokio::test]
async fn the_largest_request_that_is_allowed_is_done() {
    let given = offers().await;
    let peer = given.peer().await;
    let topics: Vec<_> = (0..50).map(|it| format!("{it:02}").repeat(128)).collect();
    let offer = |it: usize| {
        let sdp = format!("{it:02}").repeat(32_768);
        json!({"sdp": sdp, "topics": topics, "info": "i".repeat(128), "secret": "s".repeat(128), "ttl": 1})
    };
    let offers: Vec<_> = (0..100).map(offer).collect();
    let made = given.post("/offers", &peer, &json!({"offers": offers})).await;
    assert_eq!(made.body["offers"].as_array().map(Vec::len), Some(100), "{:.200}", made.text);
    // Another one of that size, of nothing but values, would take sixteen times as much once read.
    let many = json!({"offers": vec![0; 100_000]});
    check(&given, "/offers", &peer, &many, (400, "The body has too many values")).await;
}

#[tokio::test]
async fn times_to_live_are_kept_within_their_bounds() {
    let given = offers().await;
    let peer = given.peer().await;
    let lifetime = async |ttl: Value| {
        let made = given.post("/offers", &peer, &with("ttl", ttl)).await;
        let now =
            given.send(reqwest::Method::GET, "/health", None, "").await.body["timestamp"].clone();
        made.body["offers"][0]["expiresAt"].as_i64().unwrap() - now.as_i64().unwrap()
    };
    for (ttl, wanted) in [
        (Value::Null, 300_000),
        (json!(0), 300_000),
        (json!(1), 60_000),
        (json!(-5), 60_000),
        (json!(3_600_000), 3_600_000),
        (json!("120000"), 120_000),
        (json!(1e300), 86_400_000),
    ] {
        let met = lifetime(ttl.clone()).await;
        // The two requests are not made in the same moment.
        assert!((wanted - 30_000..=wanted).contains(&met), "{ttl}: {met}");
    }
}

#[tokio::test]
async fn an_id_of_a_peers_own_is_taken_up_to_its_limit_and_ignored_beyond() {
    let given = offers().await;
    let peer = given.peer().await;
    // What the offer says, hashed.
    let hash = given.post("/offers", &peer, &with("ttl", 0)).await.body["offers"][0]["id"].clone();
    assert_eq!(hash.as_str().map(str::len), Some(64));
    for (id, taken) in [
        (json!("i".repeat(128)), true),
        (json!(EMOJI.repeat(64)), true),
        (json!("i".repeat(129)), false),
        (json!(EMOJI.repeat(64) + "i"), false),
        (json!(""), false),
        (json!(7), false),
        (json!({"a": 1}), false),
        (Value::Null, false),
    ] {
        let made = given.post("/offers", &peer, &with("id", id.clone())).await;
        let wanted = if taken { &id } else { &hash };
        assert_eq!(made.body["offers"][0]["id"], *wanted, "{id}: {}", made.text);
    }
}

#[tokio::test]
async fn an_answer_is_taken_up_to_each_limit_and_refused_beyond() {
    let given = offers().await;
    let (offerer, peer) = (given.peer().await, given.peer().await);
    let no_sdp = (400, "Missing or invalid required parameter: sdp");
    let id = given.offer(&offerer, "refused").await;
    let path = format!("/offers/{id}/answer");
    for (body, wanted) in [
        (json!({}), no_sdp),
        (json!([]), no_sdp),
        (json!({"sdp": ""}), no_sdp),
        (json!({"sdp": null}), no_sdp),
        (json!({"sdp": 7}), no_sdp),
        (json!({"sdp": "a".repeat(65_537)}), LONG_SDP),
        (json!({"sdp": EMOJI.repeat(32_768) + "a"}), LONG_SDP),
        (json!({"sdp": "v=0", "secret": 7}), SECRET),
        (json!({"sdp": "v=0", "secret": null}), SECRET),
    ] {
        check(&given, &path, &peer, &body, wanted).await;
    }
    for sdp in ["a".repeat(65_536), EMOJI.repeat(32_768)] {
        let id = given.offer(&offerer, &format!("taken {}", sdp.len())).await;
        let path = format!("/offers/{id}/answer");
        check(&given, &path, &peer, &json!({"sdp": sdp}), MADE).await;
        let told = given.get("/offers/answers", &offerer).await;
        let last = &told.body["answers"][0];
        assert!(last["offerId"] == id && last["sdp"] == sdp, "{} bytes", told.text.len());
        check(&given, &path, &peer, &json!({"sdp": sdp}), (400, "Offer already answered")).await;
    }
    let gone = (400, "Offer not found or expired");
    check(&given, "/offers/nothing/answer", &peer, &json!({"sdp": "v=0"}), gone).await;
}

#[tokio::test]
async fn candidates_are_taken_up_to_each_limit_and_refused_beyond() {
    let given = offers().await;
    let (offerer, answerer) = (given.peer().await, given.peer().await);
    let id = given.offer(&offerer, "v=0").await;
    let path = format!("/offers/{id}/ice-candidates");
    let none = (400, "Missing or invalid required parameter: candidates (must be non-empty array)");
    for body in [json!({}), json!([]), json!({"candidates": []}), json!({"candidates": "a"})] {
        check(&given, &path, &offerer, &body, none).await;
    }
    let stranger = (403, "Not authorized to post ICE candidates for this offer");
    check(&given, &path, &answerer, &json!({"candidates": ["a"]}), stranger).await;
    let body = json!({"sdp": "v=0"});
    check(&given, &format!("/offers/{id}/answer"), &answerer, &body, MADE).await;

    // With its two quotes that is 4,096 bytes of JSON, and one more.
    let (largest, larger) = ("c".repeat(4094), "c".repeat(4095));
    let wide = "é".repeat(2047);
    let refused = given.post(&path, &offerer, &json!({"candidates": ["a", larger]})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let refused = given.post(&path, &offerer, &json!({"candidates": [wide.clone() + "é"]})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let refused = given.post(&path, &offerer, &json!({"candidates": vec![0; 101]})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    // Any JSON may be one; that is what comes out, and nothing of what was refused.
    let any = [
        json!(largest),
        json!(wide),
        json!(null),
        json!(false),
        json!([]),
        json!({"b": 1, "a": 2.0}),
    ];
    check(&given, &path, &offerer, &json!({"candidates": any}), MADE).await;
    let read = given.get(&path, &answerer).await;
    let read = read.body["candidates"].as_array().unwrap().clone();
    let read: Vec<_> = read.into_iter().map(|mut it| it["candidate"].take()).collect();
    assert_eq!(read, any);

    // A thousand of one side; the other one has as many of its own.
    let hundred = json!({"candidates": vec![1; 100]});
    for _ in 0..9 {
        check(&given, &path, &offerer, &hundred, MADE).await;
    }
    check(&given, &path, &offerer, &json!({"candidates": vec![1; 94]}), MADE).await;
    let refused = given.post(&path, &offerer, &json!({"candidates": [1]})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for _ in 0..10 {
        check(&given, &path, &answerer, &hundred, MADE).await;
    }
    let refused = given.post(&path, &answerer, &hundred).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for peer in [&offerer, &answerer] {
        let read = given.get(&format!("{path}?since=0"), peer).await;
        assert_eq!(read.body["candidates"].as_array().unwrap().len(), 1000);
    }
}

#[tokio::test]
async fn parameters_beyond_their_limits_are_clamped() {
    let given = offers().await;
    let peer = given.peer().await;
    let many = (0..100).map(|it| json!({"sdp": it.to_string(), "topics": ["t", format!("t{it}")]}));
    let many = json!({"offers": many.collect::<Vec<_>>()});
    assert_eq!(given.post("/offers", &peer, &many).await.status, 200);
    let more =
        (100..210).map(|it| json!({"sdp": it.to_string(), "topics": ["t", format!("t{it}")]}));
    for some in more.collect::<Vec<_>>().chunks(55) {
        assert_eq!(given.post("/offers", &peer, &json!({"offers": some})).await.status, 200);
    }
    for (limit, returned) in [
        ("", 50),
        ("limit=0", 0),
        ("limit=1", 1),
        ("limit=200", 200),
        ("limit=201", 200),
        ("limit=99999999999999999999", 200),
        ("limit=-1", 0),
        ("limit=abc", 50),
        ("limit=", 50),
        ("limit=7abc", 7),
        ("limit=%2B3", 3),
    ] {
        let path = format!("/offers/by-topic/t?{limit}");
        let page = given.send(reqwest::Method::GET, &path, None, "").await.body;
        let met = (page["offers"].as_array().map(Vec::len), &page["returned"], &page["total"]);
        assert_eq!(met, (Some(returned), &json!(returned), &json!(210)), "{limit}");
        let path = format!("/topics?{limit}");
        let page = given.send(reqwest::Method::GET, &path, None, "").await.body;
        let met = (page["topics"].as_array().map(Vec::len), &page["total"]);
        assert_eq!(met, (Some(returned), &json!(211)), "{limit}");
    }
    for (offset, first) in [
        ("0", Some("t")),
        ("-1", Some("t")),
        ("abc", Some("t")),
        ("1", Some("t0")),
        ("210", Some("t99")),
        ("211", None),
        ("99999999999999999999", None),
    ] {
        let path = format!("/topics?offset={offset}");
        let page = given.send(reqwest::Method::GET, &path, None, "").await.body;
        assert_eq!(page["topics"][0]["topic"].as_str(), first, "{offset}");
    }
}

#[tokio::test]
async fn a_candidate_may_have_a_hundred_levels() {
    let given = offers().await;
    let peer = given.peer().await;
    let id = given.offer(&peer, "v=0").await;
    for (levels, wanted) in [
        (100, (200, "")),
        (101, (400, "Candidates must have 100 levels of arrays and objects or less")),
    ] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let body = format!(r#"{{"candidates":[0,{deep}]}}"#);
        let path = format!("/offers/{id}/ice-candidates");
        let said = given.send(Method::POST, &path, Some(&peer), body).await;
        assert_eq!((said.status, said.body["error"].as_str().unwrap_or_default()), wanted);
    }
}
