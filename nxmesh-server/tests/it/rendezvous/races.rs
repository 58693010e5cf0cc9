//! Many at once, over HTTP, on each store.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;

use super::given::{Given, Peer, offers, offers_on_postgres, offers_on_sqlite};

/// How many peers answer one offer.
const ANSWERERS: usize = 1000;
/// How many candidates one side of an offer may have.
const ON_ONE_SIDE: u64 = 1000;

async fn one_answer_of_many_counts(given: Given) {
    let offerer = given.peer().await;
    let id = given.offer(&offerer, "v=0").await;
    let peers: Vec<_> =
        stream::iter(0..ANSWERERS).map(|_| given.peer()).buffered(64).collect().await;
    let path = format!("/offers/{id}/answer");
    let asking = async |it| {
        let answer = given.post(&path, it, &json!({"sdp": format!("by {}", it.id)})).await;
        (it, answer)
    };
    let answers = futures::future::join_all(peers.iter().map(asking)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, it)| it.status == 200);
    assert_eq!((won.len(), lost.len()), (1, ANSWERERS - 1));
    for (_, answer) in lost {
        let (status, why) = answer.refusal();
        let known = ["Offer already answered", "Offer already answered (race condition)"];
        assert!(status == 400 && known.contains(&why), "{status} {why}");
    }
    let (winner, answer) = won[0];
    assert_eq!(answer.body["answererId"], *winner.id);
    let told = given.get("/offers/answers", &offerer).await.body;
    assert_eq!(told["answers"].as_array().unwrap().len(), 1);
    assert_eq!(told["answers"][0]["sdp"], format!("by {}", winner.id));
    assert_eq!(told["answers"][0]["answererId"], *winner.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_answers_one_counts_in_memory() {
    one_answer_of_many_counts(offers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_answers_one_counts_on_sqlite() {
    one_answer_of_many_counts(offers_on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_answers_one_counts_on_postgres() {
    one_answer_of_many_counts(offers_on_postgres().await).await;
}

/// How many offers two peers exchange candidates at, all at once: 10,000 candidates, or with
/// `NXMESH_SOAK` 100,000.
fn exchanges() -> usize {
    if std::env::var_os("NXMESH_SOAK").is_some() { 50 } else { 5 }
}

/// Sends all candidates as fast as it can, some in each request.
async fn send(given: &Given, path: &str, peer: &Peer) {
    let mut next = 0;
    for some in [1, 7, 2, 30, 3, 100, 1, 13].into_iter().cycle() {
        if next == ON_ONE_SIDE {
            return;
        }
        let batch: Vec<_> = (next..(next + some).min(ON_ONE_SIDE)).collect();
        next += batch.len() as u64;
        let added = given.post(path, peer, &json!({"candidates": batch})).await;
        let wanted = (200, Some(batch.len() as u64));
        assert_eq!((added.status, added.body["candidatesAdded"].as_u64()), wanted, "{added:?}");
    }
}

/// Reads on from the stamp of the last one read, until all came; answers how often it read.
async fn follow(given: &Given, path: &str, peer: &Peer, other: &Peer) -> usize {
    let (mut since, mut next) = (0, 0);
    for reads in 1.. {
        let path = format!("{path}?since={since}");
        let read = given.get(&path, peer).await;
        for it in read.body["candidates"].as_array().unwrap() {
            assert_eq!(it["candidate"], next, "after {since}: {}", read.text);
            assert_eq!(it["peerId"], *other.id);
            let stamp = it["createdAt"].as_i64().unwrap();
            assert!(stamp > since, "{stamp} after {since}");
            (since, next) = (stamp, next + 1);
        }
        if next == ON_ONE_SIDE {
            return reads;
        }
    }
    0
}

async fn candidates_come_once(given: Given) {
    let (offerer, answerer) = (given.peer().await, given.peer().await);
    let mut paths = Vec::new();
    for number in 0..exchanges() {
        let id = given.offer(&offerer, &format!("v=0 {number}")).await;
        let path = format!("/offers/{id}/answer");
        let answer = given.post(&path, &answerer, &json!({"sdp": "v=0"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        paths.push(format!("/offers/{id}/ice-candidates"));
    }
    // Some at a time, each with four callers.
    let exchanges = paths.iter().map(|path| async {
        let (given, path) = (&given, path.as_str());
        tokio::join!(
            send(given, path, &offerer),
            send(given, path, &answerer),
            follow(given, path, &offerer, &answerer),
            follow(given, path, &answerer, &offerer),
        )
    });
    let reads: Vec<_> = stream::iter(exchanges).buffer_unordered(5).collect().await;
    let reads: usize = reads.iter().map(|(_, _, one, other)| one + other).sum();
    // What came is also all there is.
    let mut stamps = BTreeSet::new();
    for path in &paths {
        for peer in [&offerer, &answerer] {
            let read = given.send(Method::GET, path, Some(peer), "").await;
            let candidates = read.body["candidates"].as_array().unwrap().clone();
            assert_eq!(candidates.len() as u64, ON_ONE_SIDE);
            // No two that reach one peer have one stamp, at whichever offer.
            stamps.extend(candidates.iter().map(|it| (&peer.id, it["createdAt"].as_i64())));
        }
    }
    let sent = paths.len() as u64 * 2 * ON_ONE_SIDE;
    assert_eq!(stamps.len() as u64, sent);
    println!("{sent} candidates came once each, in {reads} reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_at_full_speed_come_once_each_in_memory() {
    candidates_come_once(offers().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_at_full_speed_come_once_each_on_sqlite() {
    candidates_come_once(offers_on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_at_full_speed_come_once_each_on_postgres() {
    candidates_come_once(offers_on_postgres().await).await;
}
