//! What a batch is as a whole.

use serde_json::json;

use super::given::{Peer, error, result, server, servers};

#[tokio::test]
async fn calls_are_done_and_answered_in_their_order_and_fail_alone() {
    for server in servers().await {
        let peer = Peer::new(1);
        let offers = json!({"tags": ["a"], "offers": [{"sdp": "v=0"}]});
        let count = json!({"method": "countOffersByTags", "params": {"tags": ["a"]}});
        let answers = server
            .batch(vec![
                count.clone(),
                peer.call(server.now(), "publishOffer", offers.clone()),
                json!({"method": "nothing"}),
                count.clone(),
                peer.call(server.now(), "publishOffer", offers),
                json!(7),
                count,
            ])
            .await;
        let counted = |at: usize| result(&answers[at])["counts"]["a"].as_u64().unwrap();
        assert_eq!((counted(0), counted(3), counted(6)), (0, 1, 2));
        assert_eq!(error(&answers[2]), ("UNKNOWN_METHOD", "Unknown method: nothing"));
        assert_eq!(error(&answers[5]), ("INVALID_PARAMS", "Missing or invalid method"));
    }
}

#[tokio::test]
async fn a_call_needs_a_method() {
    let server = server().await;
    let calls =
        vec![json!({}), json!({"method": ""}), json!({"method": 1}), json!("poll"), json!([])];
    for answer in server.batch(calls).await {
        assert_eq!(error(&answer), ("INVALID_PARAMS", "Missing or invalid method"));
    }
    let answer = server.ask("constructor", json!({})).await;
    assert_eq!(error(&answer), ("UNKNOWN_METHOD", "Unknown method: constructor"));
}

/// It may be as much work as to make a thousand offers.
#[tokio::test]
async fn to_tag_all_offers_anew_counts_as_three_hundred_operations() {
    let server = server().await;
    let retag = json!({"method": "updateOfferTags", "params": {"tags": ["a"]}});
    let mut calls = vec![retag; 3];
    for answer in server.batch(calls.clone()).await {
        assert_eq!(error(&answer).0, "AUTH_REQUIRED", "three are allowed");
    }
    calls.push(calls[0].clone());
    for answer in server.batch(calls).await {
        let text = "Total operations across batch exceed limit: 1200 > 1000";
        assert_eq!(error(&answer), ("BATCH_TOO_LARGE", text));
    }
}

#[tokio::test]
async fn a_thousand_operations_are_the_most() {
    let server = server().await;
    let of = |method: &str, name: &str, many: usize| {
        let mut call = json!({"method": method, "params": {}});
        call["params"][name] = vec![json!({}); many].into();
        call
    };
    let mut calls = vec![
        of("publishOffer", "offers", 500),
        of("addIceCandidates", "candidates", 499),
        of("poll", "candidates", 500),
    ];
    for answer in server.batch(calls.clone()).await {
        assert_eq!(error(&answer).0, "AUTH_REQUIRED", "a thousand are allowed");
    }
    calls.push(json!(7));
    for answer in server.batch(calls).await {
        let text = "Total operations across batch exceed limit: 1001 > 1000";
        assert_eq!(error(&answer), ("BATCH_TOO_LARGE", text));
    }
}

#[tokio::test]
async fn a_batch_is_not_answered_without_end() {
    let server = server().await;
    let peer = Peer::new(1);
    let long = "v".repeat(65_536);
    let offers = vec![json!({"sdp": long}); 100];
    let made = server.call(&peer, "publishOffer", json!({"tags": ["a"], "offers": offers})).await;
    result(&made);
    let page = json!({"method": "discover", "params": {"tags": ["a"], "limit": 100}});
    let answers = server.batch(vec![page; 10]).await;
    assert_eq!(result(&answers[2])["count"], 100);
    let text = "The answers to this batch exceed 16777216 bytes: make fewer calls at once";
    assert_eq!(error(&answers[3]), ("BATCH_TOO_LARGE", text));
    assert_eq!(error(&answers[9]), ("BATCH_TOO_LARGE", text));
}
