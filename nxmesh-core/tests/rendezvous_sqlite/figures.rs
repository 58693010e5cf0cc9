//! What is counted and remembered, and for how long.

use nxmesh_core::{
    conformance::rendezvous::given::{
        END, HERE, Millis, NO_QUOTA, NOW, Store, added, answered, by_topic, candidates, in_topics,
        made, make, offer, ok, publish,
    },
    rendezvous::{AddCandidates, NewOffer, Publish, PublishOutcome, Quota, RendezvousNews},
};

use super::at;

const IDS: [&str; 5] = ["v", "w", "x", "y", "z"];

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_drops_many_candidates_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let store = at(&folder.path().join("rendezvous.db")).await;
    for id in IDS {
        made(&store, "ann", id, &["t"]).await;
        for by in ["ann", "bob"] {
            let add = candidates(id, by, &["{}"; 1000], NOW);
            added(&store, AddCandidates { most_early: Some(1000), ..add }).await;
        }
    }
    let mut news = store.news();
    let swept = ok(store.sweep(END, 200).await);
    assert_eq!(swept.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), IDS[..1]);
    // Whoever lists waits for the rest, which is not dropped at once either.
    assert_eq!(by_topic(&store, in_topics(&["t"], END)).await.total, 0);
    assert_eq!(ok(store.count(&HERE).await), 0);
    // What was written before a write is told of.
    assert_eq!(ok(store.sweep(END, 200).await), []);
    for id in IDS {
        let told = news.try_recv().unwrap();
        let RendezvousNews::Expired(swept) = &told else { panic!("{told:?}") };
        assert_eq!(swept.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), [id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_takes_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = at(&folder.path().join("rendezvous.db")).await;
    let publish = async |id, now| {
        let new = NewOffer { expires_at: now + 60_000, ..offer(id, &["t"]) };
        let quota = Quota { of_all: 2, ..NO_QUOTA };
        ok(store.publish(Publish { quota, ..publish(id, vec![new], now) }).await)
    };
    for id in ["1", "2"] {
        assert!(matches!(publish(id, NOW).await, PublishOutcome::Published(_)));
    }
    assert_eq!(publish("3", END - 1).await, PublishOutcome::Full);
    for id in ["3", "4"] {
        assert!(matches!(publish(id, END).await, PublishOutcome::Published(_)));
    }
    assert_eq!(publish("5", END).await, PublishOutcome::Full);
}

/// Bob is delivered something of an offer that is there for a moment; answers its stamp.
async fn connect(store: &Store, now: Millis) -> Millis {
    let new = NewOffer { expires_at: now + 30_000, ..offer("one", &["t"]) };
    make(store, publish("ann", vec![new], now)).await;
    answered(store, "one", "bob", now).await;
    added(store, candidates("one", "ann", &["1"], now)).await;
    let reached = ok(store.deliveries(&HERE, "bob", 0, 9, now).await);
    assert!(ok(store.delete_offer(&HERE, "one", "ann").await));
    reached[0].stamp
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_forgotten_is_delivered_nothing_below_what_was_seen_though_the_clock_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    let store = at(&path).await;
    let seen = connect(&store, NOW).await;
    ok(store.sweep(NOW + 3_600_000, 100).await);
    drop(store);
    let store = at(&path).await;
    let then = connect(&store, NOW - 10_000).await;
    assert!(then > seen, "{then} after {seen}");
    let then = connect(&store, NOW + 5000).await;
    assert_eq!(then, NOW + 5001, "no more than it has to be: the millisecond after the answer");
}
