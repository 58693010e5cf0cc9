//! What is counted, by several servers at once.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use nxmesh_core::{
    conformance::{
        postgres::Database,
        rendezvous::given::{
            END, HERE, NO_QUOTA, NOW, Store, all_topics, answer, answered, by_topic, candidates,
            count, in_topics, make, offer, ok, publish, texts, topics,
        },
    },
    rendezvous::{
        AddCandidates, NewOffer, Nonce, OfferFilter, PublicKey, Publish, PublishOutcome, Quota,
        TopicOrder, TopicQuery,
    },
};
use tokio::task::JoinSet;

use crate::{PATIENCE, two_servers};

/// Waits until all that was counted is added up.
async fn folded(database: &Database) {
    let began = Instant::now();
    while database.rows("rendezvous_changes").await > 0 {
        assert!(began.elapsed() < PATIENCE, "nobody adds up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_expired_do_not_pile_up_between_sweeps() {
    let ([store, _], database) = two_servers().await;
    let key = PublicKey::parse("a".repeat(64)).unwrap();
    for call in 0..40 {
        let now = NOW + i64::from(call);
        let nonce = |it: u32| Nonce {
            key: key.clone(),
            nonce: uuid::Uuid::from_u128(u128::from(call * 10 + it)),
            expires_at: now + 3,
        };
        let nonces: Vec<_> = (0..10).map(nonce).collect();
        assert_eq!(ok(store.use_nonces(&nonces, now).await), [true; 10]);
    }
    let left = database.rows("rendezvous_nonces").await;
    assert!(left <= 50, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_who_was_refused() {
    let ([store, _], database) = two_servers().await;
    let refused = async |peer, quota| {
        let new = vec![offer("one", &["t"])];
        ok(store.publish(Publish { quota, ..publish(peer, new, NOW) }).await)
    };
    let full = Quota { of_all: 0, ..NO_QUOTA };
    let none = Quota { of_peer: 0, ..NO_QUOTA };
    assert_eq!(refused("ann", full).await, PublishOutcome::Full);
    assert_eq!(refused("bob", none).await, PublishOutcome::TooManyOfPeer);
    assert_eq!(database.rows("rendezvous_peers").await, 0);
    make(&store, publish("ann", vec![offer("two", &["t"])], NOW)).await;
    assert_eq!(refused("ann", none).await, PublishOutcome::TooManyOfPeer);
    assert_eq!(database.rows("rendezvous_peers").await, 1, "ann's figures count");
}

/// Ten peers do all that there is to do at both servers, with topics in any order.
#[tokio::test(flavor = "multi_thread")]
async fn servers_do_not_get_in_each_others_way() {
    let (stores, database) = two_servers().await;
    let mut tasks = JoinSet::new();
    for task in 0..20_usize {
        let store = Arc::clone(&stores[task % 2]);
        tasks.spawn(async move {
            let (peer, other) =
                (format!("peer {}", task % 10), format!("peer {}", (task + 3) % 10));
            for round in 0..20_usize {
                let mut names = ["a", "b", "c", "d", "e"];
                names.rotate_left((task + round) % 5);
                if task % 3 == 0 {
                    names.reverse();
                }
                let id = |it: usize| format!("{} {round} {it}", task / 2);
                let new = |it| NewOffer { sdp: "".into(), ..offer(&id(it), &names) };
                // The same offers from two tasks, in another order.
                let mut all = vec![new(0), new(1), new(2)];
                all.rotate_left(task % 3);
                let made = ok(store.publish(publish(&peer, all, NOW)).await);
                assert!(!matches!(made, PublishOutcome::Full | PublishOutcome::TooManyOfPeer));
                ok(store.retag(&HERE, &peer, &texts(&names[..3]), NOW).await);
                let early = AddCandidates {
                    most_early: Some(1000),
                    ..candidates(&id(0), &other, &["1", "2"], NOW)
                };
                ok(store.add_candidates(early).await);
                ok(store.answer(answer(&id(0), &other, NOW)).await);
                ok(store.add_candidates(candidates(&id(0), &peer, &["3"], NOW)).await);
                ok(store.heartbeat(&HERE, &id(1), &peer, NOW + 1).await);
                ok(store.delete_offer(&HERE, &id(2), &peer).await);
                ok(store.sweep(NOW, 10).await);
            }
        });
    }
    tokio::time::timeout(2 * PATIENCE, tasks.join_all()).await.expect("they wait for each other");
    kept_figures_are_exact(&stores, &database).await;
}

/// What is counted is what there is: before it is added up, and after.
async fn kept_figures_are_exact(stores: &[Store; 2], database: &Database) {
    for end in [false, true] {
        if end {
            folded(database).await;
        }
        let mut open = Vec::new();
        let mut all = 0;
        for peer in 0..10 {
            let peer = format!("peer {peer}");
            open.extend(ok(stores[0].offers_of(&HERE, &peer, OfferFilter::Open, NOW).await));
            all += ok(stores[1].offers_of(&HERE, &peer, OfferFilter::All, NOW).await).len() as u64;
        }
        let names: BTreeSet<_> = open.iter().flat_map(|it| it.topics.iter().cloned()).collect();
        let expected: Vec<_> = names
            .iter()
            .map(|name| {
                let there = open.iter().filter(|it| it.topics.contains(name));
                let peers: HashSet<_> = there.clone().map(|it| &it.peer).collect();
                count(name, there.count() as u64, peers.len() as u64)
            })
            .collect();
        for store in stores {
            let page = topics(store, all_topics(TopicOrder::Name, NOW)).await;
            assert_eq!((&page.topics, page.total), (&expected, expected.len() as u64));
            assert_eq!(ok(store.count(&HERE).await), all);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_exact_while_they_are_added_up_and_after_all_is_gone() {
    let (stores, database) = two_servers().await;
    let mut tasks = JoinSet::new();
    for task in 0..10 {
        let store = Arc::clone(&stores[task % 2]);
        tasks.spawn(async move {
            for round in 0..30 {
                let id = format!("{task} {round}");
                let own = format!("topic {id}");
                let new = NewOffer {
                    expires_at: if round % 2 == 0 { END } else { NOW + 1 },
                    ..offer(&id, &["all", &own])
                };
                make(&store, publish(&format!("peer {task}"), vec![new], NOW)).await;
                if round % 3 == 0 {
                    answered(&store, &id, "cem", NOW).await;
                }
            }
        });
    }
    tasks.join_all().await;
    // Of 300 offers 100 are answered; of the others half have expired then.
    for (now, open) in [(NOW, 200), (NOW + 1, 100)] {
        for swept in [false, true] {
            if swept && now > NOW {
                while !ok(stores[0].sweep(now, 7).await).is_empty() {}
            }
            let page = topics(&stores[1], all_topics(TopicOrder::MostPeers, now)).await;
            assert_eq!((page.total, page.topics.len() as u64), (open + 1, open + 1));
            assert_eq!(page.topics[0], count("all", open, 10));
            let query =
                TopicQuery { prefix: "TOPIC 3".into(), ..all_topics(TopicOrder::Name, now) };
            let page = topics(&stores[0], TopicQuery { limit: 3, offset: 2, ..query }).await;
            assert_eq!((page.total, page.topics.len() as u64), (open / 10, 3));
            assert!(page.topics.is_sorted_by(|one, next| one.topic < next.topic));
            assert_eq!(by_topic(&stores[1], in_topics(&["all"], now)).await.total, open);
            folded(&database).await;
        }
    }
    while !ok(stores[1].sweep(END, 50).await).is_empty() {}
    folded(&database).await;
    for table in ["offers", "entries", "candidates", "topics", "realms", "changes"] {
        assert_eq!(database.rows(&format!("rendezvous_{table}")).await, 0, "{table}");
    }
    // Nobody asks any more what the peers were told.
    ok(stores[0].sweep(END + 3 * 3_600_000, 50).await);
    assert_eq!(database.rows("rendezvous_peers").await, 0);
}
