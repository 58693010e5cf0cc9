//! Candidates in the protocol `offers`: a test for each sentence of the contract.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::given::{Given, NOW, On, Peer, offers_frozen, on_each_store};

/// What a peer reads after a stamp: each candidate with its stamp.
async fn read(given: &Given, peer: &Peer, id: &str, query: &str) -> Vec<(Value, i64)> {
    let read = given.get(&format!("/offers/{id}/ice-candidates{query}"), peer).await;
    assert_eq!(read.status, 200, "{}", read.text);
    let candidates = read.body["candidates"].as_array().unwrap().iter();
    candidates.map(|it| (it["candidate"].clone(), it["createdAt"].as_i64().unwrap())).collect()
}

/// An offer and its answer, in the first millisecond.
async fn connected(given: &Given) -> (Peer, Peer, String) {
    let (owner, other) = (given.peer().await, given.peer().await);
    let id = given.offer(&owner, "v=0").await;
    assert_eq!(given.answer(&other, &id, "v=1").await, NOW);
    (owner, other, id)
}

async fn a_peer_reads_the_other_side_only(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other, id) = connected(&given).await;
    let path = format!("/offers/{id}/ice-candidates");
    clock.advance(TimeDelta::milliseconds(10));
    let added = given.post(&path, &owner, &json!({"candidates": ["a", {"candidate": "b"}]})).await;
    assert_eq!(added.whole(), (200, json!({"offerId": id, "candidatesAdded": 2})));
    given.add(&other, &id, json!(["c"])).await;
    let to_other = json!([
        {"candidate": "a", "peerId": owner.id, "role": "offerer", "createdAt": NOW + 10},
        {"candidate": {"candidate": "b"}, "peerId": owner.id, "role": "offerer", "createdAt": NOW + 11},
    ]);
    let to_owner = json!([
        {"candidate": "c", "peerId": other.id, "role": "answerer", "createdAt": NOW + 10},
    ]);
    for (peer, candidates) in [(&other, to_other), (&owner, to_owner)] {
        let wanted = json!({"offerId": id, "candidates": candidates});
        for query in ["", "?since=0", "?since="] {
            let read = given.get(&format!("{path}{query}"), peer).await;
            assert_eq!(read.whole(), (200, wanted.clone()), "{query}");
        }
    }
}

async fn a_candidate_is_any_json_to_the_letter(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, other, id) = connected(&given).await;
    let path = format!("/offers/{id}/ice-candidates");
    let letters = [
        r#""plain""#,
        r#""\u00e9\ud83d\ude00\/""#,
        "null",
        "false",
        "true",
        "0",
        "-0.0",
        "1.50",
        "1E+2",
        "12345678901234567890123",
        "[ 1,\t2 ]",
        "{}",
        r#"{ "b":1 , "a":{"b": [ ]}}"#,
        r#"{"a":1,"a":2}"#,
        "{\n  \"candidate\": \"x\",\r\n\r\n  \"sdpMid\": null\n}",
        "\"'; --\"",
    ];
    let body = format!("{{\"more\":7, \"candidates\" : [{}]}}", letters.join(" ,\n"));
    let added = given.send(Method::POST, &path, Some(&owner), body).await;
    assert_eq!(added.body["candidatesAdded"], letters.len(), "{}", added.text);
    let read = given.get(&path, &other).await;
    let who = format!(r#","peerId":"{}","role":"offerer","createdAt":"#, owner.id);
    let all = letters.iter().zip(NOW + 1..);
    let all: Vec<_> =
        all.map(|(it, stamp)| format!(r#"{{"candidate":{it}{who}{stamp}}}"#)).collect();
    let wanted = format!(r#"{{"offerId":"{id}","candidates":[{}]}}"#, all.join(","));
    assert_eq!(read.text, wanted);
}

async fn stamps_rise_and_since_is_exact(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other, id) = connected(&given).await;
    // Three requests in one millisecond, and one in a later one that stamps have passed already.
    given.add(&owner, &id, json!([0, 1, 2])).await;
    given.add(&owner, &id, json!([3])).await;
    given.add(&owner, &id, json!([4, 5])).await;
    clock.advance(TimeDelta::milliseconds(2));
    given.add(&owner, &id, json!([6])).await;
    clock.advance(TimeDelta::milliseconds(98));
    given.add(&owner, &id, json!([7, 8])).await;
    let all = read(&given, &other, &id, "").await;
    let stamps: Vec<_> = all.iter().map(|it| it.1 - NOW).collect();
    // The answerer saw when they answered: what reaches them comes after that.
    assert_eq!(stamps, [1, 2, 3, 4, 5, 6, 7, 100, 101]);
    assert!(all.iter().zip(0..).all(|(it, number)| it.0 == number), "{all:?}");
    for (at, (_, stamp)) in all.iter().enumerate() {
        let after = read(&given, &other, &id, &format!("?since={stamp}")).await;
        assert_eq!(after, all[at + 1..], "after the one that was seen last");
        let with = read(&given, &other, &id, &format!("?since={}", stamp - 1)).await;
        assert_eq!(with, all[at..]);
    }
    let (first, last) = (all[0].1, all[8].1);
    for (query, count) in [
        (format!("since={first}"), 8),
        (format!("since=%20{first}"), 8),
        (format!("since={first}.9"), 8),
        (format!("since={first}ms"), 8),
        (format!("since=%2B{first}"), 8),
        (format!("since={last}&since=0"), 0),
        ("since=-1".into(), 9),
        ("since=-99999999999999999999".into(), 9),
        ("since=99999999999999999999".into(), 0),
        ("since=abc".into(), 0),
        ("since=NaN".into(), 0),
        ("since=-".into(), 0),
    ] {
        let met = read(&given, &other, &id, &format!("?{query}")).await.len();
        assert_eq!(met, count, "{query}");
    }
    // Nothing is taken away by reading.
    assert_eq!(read(&given, &other, &id, "").await, all);
}

/// What a peer hears of several offers has one order.
async fn stamps_of_one_peer_rise_across_its_offers(on: On) {
    let (given, _) = offers_frozen(on).await;
    let (owner, one, other) = (given.peer().await, given.peer().await, given.peer().await);
    let (first, second) = (given.offer(&owner, "1").await, given.offer(&owner, "2").await);
    let answers =
        [given.answer(&one, &first, "v=1").await, given.answer(&other, &second, "v=2").await];
    given.add(&one, &first, json!(["a"])).await;
    given.add(&other, &second, json!(["b"])).await;
    given.add(&one, &first, json!(["c"])).await;
    let first = read(&given, &owner, &first, "").await;
    let second = read(&given, &owner, &second, "").await;
    assert_eq!(answers, [NOW, NOW + 1]);
    assert_eq!(first, [(json!("a"), NOW + 2), (json!("c"), NOW + 4)]);
    assert_eq!(second, [(json!("b"), NOW + 3)]);
}

async fn candidates_from_before_the_answer_come_after_it(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other) = (given.peer().await, given.peer().await);
    let id = given.offer(&owner, "v=0").await;
    given.add(&owner, &id, json!([0, 1])).await;
    assert_eq!(read(&given, &owner, &id, "").await, [], "its own it does not hear");
    clock.advance(TimeDelta::milliseconds(50));
    given.add(&owner, &id, json!([2])).await;
    clock.advance(TimeDelta::milliseconds(50));
    let answered = given.answer(&other, &id, "v=1").await;
    assert_eq!(answered, NOW + 100);
    // Whoever asks from the answer on misses none of them.
    let query = format!("?since={answered}");
    let waited = (0..3).map(|it| (json!(it), answered + 1 + it)).collect::<Vec<_>>();
    assert_eq!(read(&given, &other, &id, &query).await, waited);
    given.add(&owner, &id, json!([3])).await;
    let last = read(&given, &other, &id, &format!("?since={}", answered + 3)).await;
    assert_eq!(last, [(json!(3), answered + 4)]);
}

async fn who_answers_their_own_offer_is_its_offerer(on: On) {
    let (given, _) = offers_frozen(on).await;
    let owner = given.peer().await;
    let id = given.offer(&owner, "v=0").await;
    given.answer(&owner, &id, "v=1").await;
    given.add(&owner, &id, json!(["a"])).await;
    assert_eq!(read(&given, &owner, &id, "").await, [], "there is no other side");
}

async fn what_is_wrong_with_candidates_is_told_in_order(on: On) {
    let (given, clock) = offers_frozen(on).await;
    let (owner, other, stranger) = (given.peer().await, given.peer().await, given.peer().await);
    let id = given.offer(&owner, "v=0").await;
    let past = given
        .publish(&owner, json!([{"sdp": "1", "topics": ["t"], "ttl": 60_000, "id": "past"}]))
        .await
        .remove(0);
    clock.advance(TimeDelta::milliseconds(60_000));
    let none = "Missing or invalid required parameter: candidates (must be non-empty array)";
    let gone = "Offer not found or expired";
    let post = "Not authorized to post ICE candidates for this offer";
    let view = "Not authorized to view ICE candidates for this offer";
    let refused = |status: u16, why: &str| (status, json!({"error": why}));
    let some = json!({"candidates": ["a"]});
    let add = async |peer: &Peer, id: &str, body: &Value| {
        given.post(&format!("/offers/{id}/ice-candidates"), peer, body).await.whole()
    };
    let look = async |peer: &Peer, id: &str| {
        given.get(&format!("/offers/{id}/ice-candidates?since=abc"), peer).await.whole()
    };
    for body in [json!({}), json!({"candidates": null}), json!({"candidates": {"0": "a"}})] {
        assert_eq!(add(&stranger, "none", &body).await, refused(400, none), "{body}");
    }
    let too_many = add(&stranger, "none", &json!({"candidates": vec![0; 101]})).await;
    assert_eq!(too_many, refused(400, "Too many candidates. Maximum 100 per request"));
    for id in ["none", &past] {
        for peer in [&owner, &stranger] {
            assert_eq!(add(peer, id, &some).await, refused(404, gone));
            assert_eq!(look(peer, id).await, refused(404, gone));
        }
    }
    // Before the answer nobody but the owner has a part in it, then the two, and never a third.
    let empty = (200, json!({"offerId": id, "candidates": []}));
    for peer in [&other, &stranger] {
        assert_eq!(add(peer, &id, &some).await, refused(403, post));
        assert_eq!(look(peer, &id).await, refused(403, view));
    }
    assert_eq!(look(&owner, &id).await, empty);
    given.answer(&other, &id, "v=1").await;
    assert_eq!(add(&other, &id, &some).await.0, 200);
    assert_eq!(look(&other, &id).await, empty);
    assert_eq!(add(&stranger, &id, &some).await, refused(403, post));
    assert_eq!(look(&stranger, &id).await, refused(403, view));
    for (method, body) in [(Method::POST, "{"), (Method::GET, "")] {
        let path = format!("/offers/{id}/ice-candidates");
        let answer = given.send(method, &path, None, body).await;
        assert_eq!(answer.whole(), refused(401, "Missing Authorization header"));
    }
}

on_each_store! {
    a_peer_reads_the_other_side_only,
    a_candidate_is_any_json_to_the_letter,
    stamps_rise_and_since_is_exact,
    stamps_of_one_peer_rise_across_its_offers,
    candidates_from_before_the_answer_come_after_it,
    who_answers_their_own_offer_is_its_offerer,
    what_is_wrong_with_candidates_is_told_in_order,
}
