//! What a store of rendezvous promises while many call at once.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use super::given::{
    END, HERE, Millis, NOW, Store, added, all_topics, answer, answered, bodies, candidates, count,
    made, make, offer, ok, publish, read, rise, texts,
};
use crate::rendezvous::{
    AddCandidates, AnswerOutcome, CandidatesAdded, Delivered, NewOffer, OfferFilter,
    PublishOutcome, ReadCandidates, TopicOrder,
};

/// How many candidates each side adds.
const EACH: usize = 2000;
/// How many tasks each side adds them in, each in calls of some.
const TASKS: usize = 4;

/// Some candidates of one task, by numbers.
async fn add(store: &Store, by: &str, task: usize, clock: &AtomicI64) {
    let mut random = StdRng::seed_from_u64(task as u64);
    let mut next = 0;
    while next < EACH / TASKS {
        let some = random.random_range(1..=8).min(EACH / TASKS - next);
        let bodies = (next..next + some).map(|it| format!("{by} {task} {it}")).collect();
        // The clock stands still most of the time, so that stamps run ahead of it.
        let now = clock.fetch_add(i64::from(random.random_ratio(1, 20)), Ordering::Relaxed);
        let add = AddCandidates { bodies, most: 10_000, ..candidates("one", by, &[], now) };
        let added = ok(store.add_candidates(add).await);
        assert!(matches!(added, CandidatesAdded::Added { to: Some(_) }), "{added:?}");
        next += some;
    }
}

/// Reads on from the last stamp that was read, until all are there.
async fn follow(store: Store, reader: &'static str, all: usize) -> Vec<String> {
    let (mut since, mut seen) = (0, Vec::new());
    while seen.len() < all {
        let page = ok(store.candidates(&HERE, "one", reader, since, NOW).await);
        let ReadCandidates::Read(page) = page else { panic!("{reader} has a part: {page:?}") };
        assert!(rise([since].into_iter().chain(page.iter().map(|it| it.stamp))), "{page:?}");
        since = page.last().map_or(since, |it| it.stamp);
        seen.extend(page.into_iter().map(|it| it.body));
        tokio::task::yield_now().await;
    }
    seen
}

/// The same, by what reaches the peer, in pages.
async fn follow_deliveries(store: Store, reader: &'static str, all: usize) -> Vec<String> {
    let (mut since, mut seen) = (0, Vec::new());
    while seen.len() < all {
        let page = ok(store.deliveries(&HERE, reader, since, 37, NOW).await);
        assert!(rise([since].into_iter().chain(page.iter().map(|it| it.stamp))), "{page:?}");
        since = page.last().map_or(since, |it| it.stamp);
        seen.extend(page.into_iter().filter_map(|it| match it.what {
            Delivered::Candidate(candidate) => Some(candidate.body),
            Delivered::Answer { .. } => None,
        }));
        tokio::task::yield_now().await;
    }
    seen
}

pub async fn of_candidates_at_full_speed_none_is_lost_and_none_read_twice(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    answered(store, "one", "bob", NOW).await;
    let clock = Arc::new(AtomicI64::new(NOW));
    let mut writers = JoinSet::new();
    for by in ["ann", "bob"] {
        for task in 0..TASKS {
            let (store, clock) = (store.clone(), Arc::clone(&clock));
            writers.spawn(async move { add(&store, by, task, &clock).await });
        }
    }
    let mut readers = JoinSet::new();
    for (reader, other) in [("ann", "bob"), ("bob", "ann")] {
        for _ in 0..2 {
            let store = store.clone();
            readers.spawn(async move { (other, follow(store, reader, EACH).await) });
        }
        let store = store.clone();
        readers.spawn(async move { (other, follow_deliveries(store, reader, EACH).await) });
    }
    let both = async {
        writers.join_all().await;
        readers.join_all().await
    };
    let read = tokio::time::timeout(4 * crate::conformance::PATIENCE, both).await;
    for (by, seen) in read.expect("some are lost") {
        let all = (0..TASKS).flat_map(|task| (0..EACH / TASKS).map(move |it| (task, it)));
        let expected: HashSet<_> = all.map(|(task, it)| format!("{by} {task} {it}")).collect();
        assert_eq!(seen.len(), EACH, "none twice");
        assert_eq!(seen.iter().cloned().collect::<HashSet<_>>(), expected);
        for task in 0..TASKS {
            let of_task = format!("{by} {task} ");
            let places = seen.iter().filter_map(|it| it.strip_prefix(&of_task));
            assert!(rise(places.map(|it| it.parse().unwrap())), "in order");
        }
    }
}

pub async fn of_candidates_that_race_with_the_answer_none_is_lost(store: &Store) {
    for round in 0..20 {
        let id = format!("offer {round}");
        make(store, publish("ann", vec![offer(&id, &["t"])], NOW)).await;
        let add = async |by: &str| {
            for number in 0..10 {
                let body = number.to_string();
                let add =
                    AddCandidates { most_early: Some(1000), ..candidates(&id, by, &[&body], NOW) };
                added(store, add).await;
                tokio::task::yield_now().await;
            }
        };
        let answer_meanwhile = async {
            for _ in 0..round % 7 {
                tokio::task::yield_now().await;
            }
            let outcome = ok(store.answer(answer(&id, "bob", NOW)).await);
            let AnswerOutcome::Answered(offer) = outcome else { panic!("{outcome:?}") };
            offer.answered.unwrap().at
        };
        let ((), (), at) = tokio::join!(add("ann"), add("bob"), answer_meanwhile);
        for peer in ["ann", "bob"] {
            let all = ok(store.candidates(&HERE, &id, peer, at, NOW).await);
            let ReadCandidates::Read(all) = all else { panic!("{peer} has a part") };
            let expected: Vec<_> = (0..10).map(|it| it.to_string()).collect();
            assert_eq!(bodies(&all), expected, "round {round}, to {peer}");
            assert!(rise(all.iter().map(|it| it.stamp)), "{all:?}");
        }
    }
}

pub async fn a_write_is_seen_only_whole(store: &Store) {
    let (topics, rounds) = (texts(&["a", "b"]), 30);
    let writer = async {
        for round in 0..rounds {
            let new = |it| offer(&format!("{round} {it}"), &["a", "b"]);
            make(store, publish("ann", (0..10).map(new).collect(), NOW)).await;
            tokio::task::yield_now().await;
        }
    };
    let reader = async {
        loop {
            let counts = ok(store.topic_counts(&HERE, &topics, None, NOW).await);
            assert_eq!(counts[0].offers % 10, 0, "{counts:?}");
            assert_eq!(counts[0].offers, counts[1].offers, "one moment for one call");
            let offers = ok(store.offers_of(&HERE, "ann", OfferFilter::All, NOW).await);
            assert_eq!(offers.len() % 10, 0);
            let page = ok(store.topics(all_topics(TopicOrder::Name, NOW)).await);
            assert_eq!(page.total, page.topics.len() as u64);
            assert!(page.topics.iter().all(|it| it.offers == page.topics[0].offers), "{page:?}");
            if counts[0].offers == rounds * 10 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let both = async { tokio::join!(writer, reader) };
    tokio::time::timeout(4 * crate::conformance::PATIENCE, both).await.expect("some are missing");
}

pub async fn whoever_adds_at_once_has_no_more_than_may_be(store: &Store) {
    for id in ["open", "done"] {
        made(store, "ann", id, &["t"]).await;
    }
    answered(store, "done", "bob", NOW).await;
    let mut tasks = JoinSet::new();
    for task in 0..60 {
        let id = if task % 2 == 0 { "open" } else { "done" };
        let add = AddCandidates { most: 25, ..candidates(id, "ann", &["1", "2"], NOW) };
        let store = store.clone();
        tasks.spawn(async move { ok(store.add_candidates(add).await) });
    }
    let outcomes = tasks.join_all().await;
    let refused = outcomes.iter().filter(|it| **it == CandidatesAdded::TooMany).count();
    assert_eq!(refused, 2 * (30 - 12), "{outcomes:?}");
    for id in ["open", "done"] {
        assert_eq!(ok(store.candidates_of(&HERE, id, "ann", NOW).await).len(), 24);
    }
}

pub async fn of_offers_that_are_made_at_once_each_has_a_figure_of_its_own(store: &Store) {
    let mut tasks = JoinSet::new();
    for task in 0..40 {
        let new = vec![offer(&format!("{task} 1"), &["t"]), offer(&format!("{task} 2"), &["t"])];
        let store = store.clone();
        tasks.spawn(async move { make(&store, publish("ann", new, NOW)).await });
    }
    let made = tasks.join_all().await;
    let figures: HashSet<_> = made.into_iter().flatten().map(|it| it.created_at).collect();
    assert_eq!(figures.len(), 80);
}

pub async fn of_answers_to_one_peer_none_is_lost(store: &Store) {
    let new = (0..60).map(|it| offer(&format!("{it}"), &["t"])).collect();
    make(store, publish("ann", new, NOW)).await;
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let store = store.clone();
        tasks.spawn(async move {
            let id = number.to_string();
            answered(&store, &id, "bob", NOW).await;
            added(&store, candidates(&id, "bob", &["1"], NOW)).await;
        });
    }
    let follower = async {
        let (mut since, mut seen) = (0, Vec::new());
        while seen.len() < 120 {
            let page = ok(store.deliveries(&HERE, "ann", since, 7, NOW).await);
            assert!(rise([since].into_iter().chain(page.iter().map(|it| it.stamp))), "{page:?}");
            since = page.last().map_or(since, |it| it.stamp);
            seen.extend(page.into_iter().map(|it| it.offer));
            tokio::task::yield_now().await;
        }
        seen
    };
    let both = async { tokio::join!(tasks.join_all(), follower).1 };
    let seen = tokio::time::timeout(4 * crate::conformance::PATIENCE, both).await;
    let seen = seen.expect("some are lost");
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 60);
}

/// Random calls of one of many tasks, which meet in few topics, peers and offers.
async fn meddle(store: Store, task: u64, calls: usize) {
    let mut random = StdRng::seed_from_u64(task);
    for _ in 0..calls {
        let peer = format!("peer {}", random.random_range(0..4));
        let id = format!("{}", random.random_range(0..12));
        let mut topics = vec!["a", "b", "c", "d"];
        topics.rotate_left(random.random_range(0..4));
        topics.truncate(random.random_range(1..=4));
        if random.random() {
            topics.reverse();
        }
        let now: Millis = NOW + random.random_range(0..50);
        match random.random_range(0..11) {
            0..=3 => {
                let other = format!("{}", random.random_range(0..12));
                let new = [&id, &other].map(|it| NewOffer {
                    sdp: "".into(),
                    expires_at: NOW + random.random_range(40..=120),
                    ..offer(it, &topics)
                });
                let outcome = ok(store.publish(publish(&peer, new.into(), now)).await);
                let fine =
                    matches!(outcome, PublishOutcome::Published(_) | PublishOutcome::Taken(_));
                assert!(fine, "{outcome:?}");
            }
            4 => drop(ok(store.answer(answer(&id, &peer, now)).await)),
            5 => {
                let add = AddCandidates {
                    most_early: random.random::<bool>().then_some(1000),
                    ..candidates(&id, &peer, &["1", "2"], now)
                };
                ok(store.add_candidates(add).await);
            }
            6 => drop(ok(store.retag(&HERE, &peer, &texts(&topics), now).await)),
            7 => drop(ok(store.heartbeat(&HERE, &id, &peer, now).await)),
            8 => drop(ok(store.sweep(now, 3).await)),
            _ => drop(ok(store.delete_offer(&HERE, &id, &peer).await)),
        }
    }
}

pub async fn counts_stay_exact_whoever_meddles(store: &Store) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        tasks.spawn(meddle(store.clone(), task, 100));
    }
    let done = tokio::time::timeout(4 * crate::conformance::PATIENCE, tasks.join_all()).await;
    done.expect("they wait for each other");
    let (mut open, mut all, late) = (Vec::new(), 0, NOW + 60);
    for peer in 0..4 {
        let peer = format!("peer {peer}");
        open.extend(ok(store.offers_of(&HERE, &peer, OfferFilter::Open, late).await));
        all += ok(store.offers_of(&HERE, &peer, OfferFilter::All, late).await).len() as u64;
    }
    let topics = ["a", "b", "c", "d"];
    let expected = topics.map(|topic| {
        let there = open.iter().filter(|it| it.topics.iter().any(|it| it == topic));
        let peers: HashSet<_> = there.clone().map(|it| &it.peer).collect();
        count(topic, there.count() as u64, peers.len() as u64)
    });
    assert_eq!(ok(store.topic_counts(&HERE, &texts(&topics), None, late).await), expected);
    while !ok(store.sweep(late, 100).await).is_empty() {}
    assert_eq!(ok(store.count(&HERE).await), all);
    while !ok(store.sweep(END, 100).await).is_empty() {}
    let none = topics.map(|topic| count(topic, 0, 0));
    assert_eq!(ok(store.topic_counts(&HERE, &texts(&topics), None, NOW).await), none);
    assert_eq!(ok(store.count(&HERE).await), 0);
    made(store, "ann", "one", &["a"]).await;
    answered(store, "one", "bob", NOW).await;
    assert_eq!(read(store, "one", "bob", 0).await, []);
}
