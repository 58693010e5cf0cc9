//! What calls cost: how many rows and entries of indexes the database looks at for one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{ops::Range, sync::Arc, time::Duration};

use sqlx::Row;

use super::PostgresRendezvous;
use crate::{
    conformance::{
        postgres::Database,
        rendezvous::given::{
            END, HERE, NOW, Store, added, all_topics, answer, answered, by_topic, candidates,
            in_topics, make, offer, ok, publish, read, texts, topics,
        },
    },
    rendezvous::{Durability, NewOffer, OfferFilter, OfferQuery, TopicOrder, TopicQuery},
    store::postgres::PostgresOptions,
};

/// How many offers there are, all of one topic, and each of one of its own.
const OFFERS: usize = 3000;
/// What a call may look at. Some look at each row in two indexes and the table.
const MOST: i64 = 1000;

/// A store on one connection, for whatever is called: it can begin a transaction around calls.
async fn open() -> (Arc<PostgresRendezvous>, Database) {
    let database = Database::create().await;
    let options =
        PostgresOptions { max_connections: 1, listen: false, ..PostgresOptions::default() };
    let store = PostgresRendezvous::open_with(database.url(), options, Durability::Relaxed).await;
    (Arc::new(store.unwrap()), database)
}

/// Offers of one topic, by many peers.
async fn fill(store: &Store, peers: Range<usize>) {
    for peer in peers {
        let new = |it| offer(&format!("{peer} {it}"), &["all", &format!("topic {peer} {it}")]);
        let all = (0..OFFERS / 100).map(new).collect();
        make(store, publish(&format!("peer {peer}"), all, NOW)).await;
    }
}

async fn run(store: &PostgresRendezvous, sql: &'static str) {
    store.database.execute(sqlx::query(sql)).await.unwrap();
}

/// What this connection has looked at: what it did not yet report.
async fn looked(store: &PostgresRendezvous) -> i64 {
    let looked = sqlx::query(
        "SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid))::bigint
         FROM pg_class WHERE relname LIKE 'rendezvous\\_%'",
    );
    store.database.one(looked).await.unwrap().try_get(0).unwrap()
}

/// What a call looks at, which leaves nothing behind. Within a transaction nothing is reported.
async fn cost<T>(store: &PostgresRendezvous, call: impl Future<Output = T>) -> i64 {
    run(store, "BEGIN").await;
    let before = looked(store).await;
    call.await;
    let after = looked(store).await;
    run(store, "ROLLBACK").await;
    after - before
}

/// What each call looks at.
async fn costs(store: &Arc<PostgresRendezvous>) -> Vec<(&'static str, i64)> {
    let shared: Store = store.clone();
    let mut costs = Vec::new();
    let new = || NewOffer { expires_at: END + 1, ..offer("new", &["all", "other"]) };
    let again = || offer("7 7", &["all", "topic 7 7"]);
    let two_topics = || OfferQuery { limit: 50, ..in_topics(&["all", "topic 1 1"], NOW) };
    let page = |order, prefix: &str| TopicQuery {
        limit: 20,
        prefix: prefix.to_owned(),
        ..all_topics(order, NOW)
    };
    macro_rules! cost {
        ($($name:literal: $call:expr),* $(,)?) => {
            $(costs.push(($name, cost(store, $call).await));)*
        };
    }
    cost! {
        "publish": make(&shared, publish("ann", vec![new()], NOW)),
        "publish one more": make(&shared, publish("peer 7", vec![new()], NOW)),
        "publish again": make(&shared, publish("peer 7", vec![again()], NOW)),
        "answer": answered(&shared, "7 7", "bob", NOW),
        "answer and trickle": async {
            added(&shared, candidates("7 7", "peer 7", &["1"], NOW)).await;
            ok(shared.answer(answer("7 7", "bob", NOW)).await);
            added(&shared, candidates("7 7", "bob", &["1"], NOW)).await;
            read(&shared, "7 7", "bob", 0).await;
            ok(shared.deliveries(&HERE, "peer 7", 0, 10, NOW).await);
        },
        "heartbeat": shared.heartbeat(&HERE, "7 7", "peer 7", NOW),
        "wrong secret": shared.wrong_secret(&HERE, "7 7", 3, NOW, END),
        "delete": shared.delete_offer(&HERE, "7 7", "peer 7"),
        "sweep nothing": shared.sweep(NOW, 100),
        "offers of": shared.offers_of(&HERE, "peer 7", OfferFilter::All, NOW),
        "by topic": by_topic(&shared, two_topics()),
        "later in the topic": by_topic(&shared, OfferQuery { offset: 40, limit: 10, ..two_topics() }),
        "topics": topics(&shared, page(TopicOrder::MostPeers, "")),
        "topics by name": topics(&shared, page(TopicOrder::Name, "")),
        "topics by prefix": topics(&shared, page(TopicOrder::Name, "TOPIC 77 1")),
        "counts": async {
            ok(shared.topic_counts(&HERE, &texts(&["all"]), Some("peer 7"), NOW).await)
        },
        "count": shared.count(&HERE),
    }
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_costs_does_not_grow_with_the_topic() {
    let (store, database) = open().await;
    let shared: Store = store.clone();
    fill(&shared, 7..8).await;
    // How each is done is decided now, while there is next to nothing.
    costs(&store).await;
    fill(&shared, 0..7).await;
    fill(&shared, 8..100).await;
    while database.rows("rendezvous_changes").await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Who comes first steps over what was added up, and marks it as gone.
    costs(&store).await;
    let costs = costs(&store).await;
    let dear: Vec<_> = costs.iter().filter(|(_, cost)| *cost > MOST).collect();
    assert!(dear.is_empty(), "{dear:?} of {costs:?}");
    let page = by_topic(&shared, OfferQuery { limit: 0, ..in_topics(&["all"], NOW) }).await;
    assert_eq!(page.total, OFFERS as u64, "it was large, and still is");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_looked_at_once_for_all_topics() {
    let (store, _database) = open().await;
    let shared: Store = store.clone();
    fill(&shared, 0..10).await;
    let topics: Vec<_> = (0..20).map(|it| format!("topic 7 {it}")).collect();
    let counted = async |many: usize| {
        cost(&store, shared.topic_counts(&HERE, &topics[..many], None, END)).await
    };
    let (one, all) = (counted(1).await, counted(20).await);
    assert!(all < 2 * one, "{all} for twenty, and {one} for one");
}
