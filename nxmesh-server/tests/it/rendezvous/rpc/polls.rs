//! Asking for all that came: `poll`.

use serde_json::{Value, json};

use super::given::{Given, Peer, result, servers};

/// All stamps of what was polled, answers first.
fn stamps(polled: &Value) -> Vec<i64> {
    let answers = polled["answers"].as_array().unwrap().iter().map(|it| &it["answeredAt"]);
    let candidates = polled["iceCandidates"].as_object().unwrap().values();
    let candidates = candidates.flat_map(|it| it.as_array().unwrap()).map(|it| &it["createdAt"]);
    answers.chain(candidates).map(|it| it.as_i64().unwrap()).collect()
}

async fn poll(server: &Given, peer: &Peer, since: i64) -> Value {
    result(&server.call(peer, "poll", json!({"since": since})).await).clone()
}

async fn add(server: &Given, peer: &Peer, id: &str, candidate: Value) {
    let params = json!({"offerId": id, "candidates": [candidate]});
    result(&server.call(peer, "addIceCandidates", params).await);
}

#[tokio::test]
async fn a_poll_has_the_answers_and_candidates_of_own_and_answered_offers() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        assert_eq!(poll(&server, &one, 0).await, json!({"answers": [], "iceCandidates": {}}));
        let id = server.publish(&one, &["a"], &["v=0"]).await.remove(0);
        add(&server, &other, &id, json!({"c": 1})).await;
        let answer = json!({"offerId": id, "sdp": "v=9", "matchedTags": ["a"]});
        result(&server.call(&other, "answerOffer", answer).await);
        add(&server, &one, &id, json!({"c": 2})).await;
        let polled = poll(&server, &one, 0).await;
        let [answered, came] = stamps(&polled)[..] else { panic!("{polled}") };
        assert!(answered >= server.now() && came > answered, "{polled}");
        let answer = json!({
            "offerId": id,
            "answererPublicKey": other.id,
            "sdp": "v=9",
            "answeredAt": answered,
            "matchedTags": ["a"],
        });
        let candidate = |by: &Peer, role: &str, body: Value, stamp: i64| {
            json!({
                "id": stamp,
                "offerId": id,
                "publicKey": by.id,
                "role": role,
                "candidate": body,
                "createdAt": stamp,
            })
        };
        let candidates = json!({&id: [candidate(&other, "answerer", json!({"c": 1}), came)]});
        assert_eq!(polled, json!({"answers": [answer], "iceCandidates": candidates}));
        let polled = poll(&server, &other, 0).await;
        let [came] = stamps(&polled)[..] else { panic!("{polled}") };
        let candidates = json!({&id: [candidate(&one, "offerer", json!({"c": 2}), came)]});
        assert_eq!(polled, json!({"answers": [], "iceCandidates": candidates}));
        assert!(stamps(&poll(&server, &Peer::new(3), 0).await).is_empty());
        let without = server.call(&one, "poll", json!({})).await;
        assert_eq!(result(&without)["answers"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn since_the_last_stamp_nothing_comes_twice_and_nothing_is_missed() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let ids = server.publish(&one, &["a"], &["v=0", "v=1", "v=2", "v=3"]).await;
        let (mut since, mut seen) = (0, Vec::new());
        for id in &ids {
            // All in the same millisecond: stamps run ahead of the clock, and an answer may not get one that was passed.
            add(&server, &other, id, json!({"c": 1})).await;
            result(&server.call(&other, "answerOffer", json!({"offerId": id, "sdp": "v=9"})).await);
            for _ in 0..3 {
                add(&server, &other, id, json!({"c": 2})).await;
            }
            let polled = poll(&server, &one, since).await;
            let stamps = stamps(&polled);
            assert_eq!(stamps.len(), 5, "{polled}");
            assert_eq!(polled["answers"][0]["offerId"], *id);
            assert!(stamps.iter().all(|it| *it > since));
            since = stamps.iter().copied().max().unwrap();
            seen.extend(stamps);
            assert!(self::stamps(&poll(&server, &one, since).await).is_empty());
        }
        let all = stamps(&poll(&server, &one, 0).await).len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), all), (20, 20));
    }
}

#[tokio::test]
async fn what_is_too_much_for_one_poll_comes_with_the_next_ones() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let long = "v".repeat(60_000);
        let ids = server.publish(&one, &["a"], &["v=0"; 100]).await;
        let more = server.publish(&one, &["a"], &["v=0"; 50]).await;
        let ids: Vec<_> = ids.into_iter().chain(more).collect();
        for ids in ids.chunks(50) {
            let calls = ids.iter().map(|id| {
                other.call(server.now(), "answerOffer", json!({"offerId": id, "sdp": long}))
            });
            server.batch(calls.collect()).await.iter().for_each(|it| _ = result(it));
        }
        let (mut since, mut seen, mut polls) = (0, Vec::new(), 0);
        loop {
            let polled = poll(&server, &one, since).await;
            let Some(last) = stamps(&polled).into_iter().max() else { break };
            since = last;
            polls += 1;
            let answers = polled["answers"].as_array().unwrap().iter();
            seen.extend(answers.map(|it| it["offerId"].as_str().unwrap().to_owned()));
        }
        assert_eq!(seen, ids);
        assert_eq!(polls, 2);
    }
}

#[tokio::test]
async fn what_is_over_is_not_polled() {
    for server in servers().await {
        let (one, other) = (Peer::new(1), Peer::new(2));
        let ids = server.publish(&one, &["a"], &["v=0", "v=1"]).await;
        for id in &ids {
            result(&server.call(&other, "answerOffer", json!({"offerId": id, "sdp": "v=9"})).await);
        }
        result(&server.call(&one, "deleteOffer", json!({"offerId": ids[0]})).await);
        assert_eq!(stamps(&poll(&server, &one, 0).await).len(), 1);
        server.pass(30_000);
        assert!(stamps(&poll(&server, &one, 0).await).is_empty());
    }
}
