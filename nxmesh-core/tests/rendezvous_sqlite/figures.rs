//! What is counted and remembered, and for how long.

use nxmesh_core::{
    conformance::rendezvous::{
        given::{
            END, HERE, Millis, NO_QUOTA, NOW, Store, added, answered, by_topic, candidates,
            in_topics, made, make, offer, ok, publish, texts,
        },
        play::play,
    },
    rendezvous::{
        AddCandidates, NewOffer, Publish, PublishOutcome, Quota, RendezvousNews, TopicCount,
    },
};

use super::at;

const LARGE: [&str; 5] = ["v", "w", "x", "y", "z"];

/// Offers of ann, with so many candidates of ann and of bob.
async fn large(store: &Store, many: usize) {
    let bodies = vec!["{}"; many];
    for id in LARGE {
        made(store, "ann", id, &["t"]).await;
        for by in ["ann", "bob"] {
            let early =
                AddCandidates { most_early: Some(1000), ..candidates(id, by, &bodies, NOW) };
            added(store, early).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_drops_many_candidates_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let store = at(&folder.path().join("rendezvous.db")).await;
    large(&store, 1000).await;
    let mut news = store.news();
    let swept = ok(store.sweep(END, 200).await);
    assert_eq!(swept.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), LARGE[..1]);
    // Whoever lists waits for the rest, which is not dropped at once either.
    assert_eq!(by_topic(&store, in_topics(&["t"], END)).await.total, 0);
    assert_eq!(ok(store.count(&HERE).await), 0);
    // What was written before a write is told of.
    assert_eq!(ok(store.sweep(END, 200).await), []);
    for id in LARGE {
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
    let file = rusqlite::Connection::open(&path).unwrap();
    let known: u64 = file.query_row("SELECT count(*) FROM peers", [], |row| row.get(0)).unwrap();
    assert_eq!(known, 0, "they are forgotten");
    drop(store);
    let store = at(&path).await;
    let then = connect(&store, NOW - 10_000).await;
    assert!(then > seen, "{then} after {seen}");
    let then = connect(&store, NOW + 5000).await;
    assert_eq!(then, NOW + 5001, "no more than it has to be: the millisecond after the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_called_each_count_is_that_of_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    let store = at(&path).await;
    play(&store, 7, 500).await;
    large(&store, 3).await;
    answered(&store, LARGE[0], "bob", NOW).await;
    ok(store.retag(&HERE, "ann", &texts(&["t"]), NOW).await);
    let file = rusqlite::Connection::open(&path).unwrap();
    for (wrong, sql) in [
        ("totals", "totals WHERE offers <> (SELECT count(*) FROM offers)"),
        ("realms", "realms r WHERE offers <> (SELECT count(*) FROM offers WHERE realm = r.id)"),
        ("offers", "peers p WHERE offers <> (SELECT count(*) FROM offers WHERE peer = p.id)"),
        ("answers", "peers p WHERE answers <> (SELECT count(*) FROM offers WHERE answerer = p.id)"),
        ("parts", "peers p WHERE parts <> (SELECT count(*) FROM parts WHERE peer = p.id)"),
        (
            "candidates",
            "parts p WHERE candidates <>
                 (SELECT count(*) FROM candidates WHERE offer = p.offer AND peer = p.peer)",
        ),
    ] {
        let sql = format!("SELECT count(*) FROM {sql}");
        let found: u64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, 0, "{wrong}");
    }
    while !ok(store.sweep(Millis::MAX, 100).await).is_empty() {}
    for table in ["offers", "candidates", "parts", "peers", "realms", "topics", "nonces"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: u64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let counts = ok(store.topic_counts(&HERE, &texts(&["t"]), None, NOW).await);
    assert_eq!(counts, [TopicCount { topic: "t".to_owned(), offers: 0, peers: 0 }]);
}
