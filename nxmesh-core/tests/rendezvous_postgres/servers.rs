//! Several servers on one database.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use nxmesh_core::{
    conformance::rendezvous::given::{
        HERE, NO_QUOTA, NOW, Store, added, answer, answered, candidates, made, make, offer, ok,
        publish,
    },
    rendezvous::{
        AddCandidates, AnswerOutcome, Delivered, OfferFilter, Publish, PublishOutcome, Quota,
        ReadCandidates,
    },
};
use tokio::task::JoinSet;

use crate::{PATIENCE, two_servers};

#[tokio::test(flavor = "multi_thread")]
async fn of_answers_at_two_servers_one_counts() {
    let (stores, _database) = two_servers().await;
    for round in 0..5 {
        let id = format!("offer {round}");
        make(&stores[0], publish("ann", vec![offer(&id, &["t"])], NOW)).await;
        let mut tasks = JoinSet::new();
        for number in 0..200 {
            let store = Arc::clone(&stores[number % 2]);
            let answer = answer(&id, &format!("peer {number}"), NOW);
            tasks.spawn(async move { ok(store.answer(answer).await) });
        }
        let mut won = Vec::new();
        for outcome in tasks.join_all().await {
            match outcome {
                AnswerOutcome::Answered(offer) => won.push(*offer),
                AnswerOutcome::AlreadyAnswered => {}
                AnswerOutcome::NotFound | AnswerOutcome::Locked => panic!("it is there"),
            }
        }
        assert_eq!(won.len(), 1);
        for store in &stores {
            assert_eq!(ok(store.offer(&HERE, &id, NOW).await), Some(won[0].clone()));
        }
    }
}

/// How many candidates each side adds, at each server.
const EACH: usize = 250;

/// Adds candidates, one or a few at a time.
async fn trickle(store: Store, by: &'static str, server: usize) {
    let mut next = 0;
    while next < EACH {
        let some = (1 + next % 4).min(EACH - next);
        let bodies = (next..next + some).map(|it| format!("{by} {server} {it}")).collect();
        let add = AddCandidates { bodies, ..candidates("one", by, &[], NOW + next as i64) };
        added(&store, add).await;
        next += some;
    }
}

/// Reads on, at one server and then the other, from the last stamp that was read.
async fn follow(stores: [Store; 2], reader: &'static str) -> Vec<String> {
    let (mut since, mut seen) = (0, Vec::new());
    for store in stores.iter().cycle() {
        for delivery in ok(store.deliveries(&HERE, reader, since, 50, NOW).await) {
            assert!(delivery.stamp > since, "{delivery:?}");
            since = delivery.stamp;
            if let Delivered::Candidate(candidate) = delivery.what {
                seen.push(candidate.body);
            }
        }
        if seen.len() >= 2 * EACH {
            return seen;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn of_candidates_at_two_servers_none_is_lost_and_none_read_twice() {
    let (stores, _database) = two_servers().await;
    made(&stores[0], "ann", "one", &["t"]).await;
    answered(&stores[1], "one", "bob", NOW).await;
    let mut writers = JoinSet::new();
    for (number, store) in stores.iter().enumerate() {
        writers.spawn(trickle(Arc::clone(store), "ann", number));
        writers.spawn(trickle(Arc::clone(store), "bob", number));
    }
    let readers =
        async { tokio::join!(follow(stores.clone(), "ann"), follow(stores.clone(), "bob")) };
    let (_, (to_ann, to_bob)) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(writers.join_all(), readers) })
            .await
            .expect("some are lost");
    for (by, seen) in [("bob", to_ann), ("ann", to_bob)] {
        let all = (0..2).flat_map(|server| (0..EACH).map(move |it| format!("{by} {server} {it}")));
        assert_eq!(seen.len(), 2 * EACH, "none twice");
        assert_eq!(seen.into_iter().collect::<HashSet<_>>(), all.collect());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_at_two_servers() {
    let (stores, _database) = two_servers().await;
    let mut tasks = JoinSet::new();
    for task in 0..60 {
        let store = Arc::clone(&stores[task % 2]);
        let new = vec![offer(&format!("{task}"), &["t"])];
        let quota = Quota { of_peer: 7, ..NO_QUOTA };
        let publish = Publish { quota, ..publish("ann", new, NOW) };
        tasks.spawn(async move { ok(store.publish(publish).await) });
    }
    let outcomes = tasks.join_all().await;
    let made = outcomes.iter().filter(|it| matches!(it, PublishOutcome::Published(_)));
    assert_eq!(made.count(), 7);
    let all = ok(stores[0].offers_of(&HERE, "ann", OfferFilter::All, NOW).await);
    let made: BTreeSet<_> = all.iter().map(|it| it.created_at).collect();
    assert_eq!(made, (NOW..NOW + 7).collect(), "each has a figure of its own");
}

/// Prints how many connections of two peers are brought about in a second, and how long each takes: no
/// promise, a figure to look at.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_counted() {
    let (stores, _database) = two_servers().await;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = Arc::clone(&stores[task % 2]);
        tasks.spawn(async move {
            for round in 0..25 {
                let id = format!("{task} {round}");
                let (ann, bob) = (format!("ann {task}"), format!("bob {task}"));
                make(&store, publish(&ann, vec![offer(&id, &["all"])], NOW)).await;
                answered(&store, &id, &bob, NOW).await;
                for (by, to) in [(&ann, &bob), (&bob, &ann)] {
                    added(&store, candidates(&id, by, &["1", "2", "3"], NOW)).await;
                    let read = ok(store.candidates(&HERE, &id, to, 0, NOW).await);
                    assert!(matches!(read, ReadCandidates::Read(it) if it.len() == 3));
                }
            }
        });
    }
    tasks.join_all().await;
    let each = began.elapsed() / 200;
    println!("{:.0} handshakes a second at two servers, {each:?} each", 1.0 / each.as_secs_f64());
}
