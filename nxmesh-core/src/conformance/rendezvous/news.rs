//! What a store of rendezvous tells of as news.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::given::{
    END, HERE, NOW, Store, added, answered, candidates, made, make, offer, ok, publish, texts,
};
use crate::{
    conformance::PATIENCE,
    rendezvous::{AddCandidates, Expired, RendezvousNews},
};

/// Waits for such news. Those that say that some were missed stand for any.
async fn told(news: &mut Receiver<RendezvousNews>, what: impl Fn(&RendezvousNews) -> bool + Sync) {
    let wait = async {
        loop {
            match news.recv().await {
                Ok(RendezvousNews::Missed) | Err(RecvError::Lagged(_)) => return,
                Ok(it) if what(&it) => return,
                Ok(_) => {}
                Err(RecvError::Closed) => panic!("the store still stands"),
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "it is not told");
}

fn reached(peer: &str) -> impl Fn(&RendezvousNews) -> bool {
    move |news| matches!(news, RendezvousNews::Delivered { realm, to } if *realm == HERE && **to == *peer)
}

pub async fn new_offers_are_told_of(store: &Store) {
    made(store, "ann", "known", &["a"]).await;
    let mut news = store.news();
    made(store, "ann", "known", &["a"]).await;
    make(store, publish("ann", vec![offer("one", &["b", "a"]), offer("two", &["c"])], NOW)).await;
    let mut left = vec![("one".to_owned(), texts(&["b", "a"])), ("two".to_owned(), texts(&["c"]))];
    while !left.is_empty() {
        let mut told_now = Vec::new();
        let next = async {
            loop {
                match news.recv().await {
                    Ok(RendezvousNews::Published { realm: HERE, offers }) => return Some(offers),
                    Ok(RendezvousNews::Missed) | Err(RecvError::Lagged(_)) => return None,
                    Ok(_) => {}
                    Err(RecvError::Closed) => panic!("the store still stands"),
                }
            }
        };
        let Some(offers) = tokio::time::timeout(PATIENCE, next).await.unwrap() else { return };
        assert!(!offers.is_empty(), "there are none");
        told_now.extend(offers.iter().cloned());
        left.retain(|it| !told_now.contains(it));
        for (id, _) in told_now {
            assert!(ok(store.offer(&HERE, &id, NOW).await).is_some(), "it can be read");
        }
    }
}

pub async fn a_peer_is_told_that_something_reached_it(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    added(store, candidates("one", "ann", &["1"], NOW)).await;
    let early = AddCandidates { most_early: Some(1000), ..candidates("one", "bob", &["2"], NOW) };
    added(store, early).await;
    let (mut to_ann, mut to_bob) = (store.news(), store.news());
    answered(store, "one", "bob", NOW).await;
    told(&mut to_ann, reached("ann")).await;
    assert_eq!(ok(store.deliveries(&HERE, "ann", 0, 9, NOW).await).len(), 2, "it can be read");
    told(&mut to_bob, reached("bob")).await;
    assert_eq!(ok(store.deliveries(&HERE, "bob", 0, 9, NOW).await).len(), 1, "it can be read");
    let (mut to_ann, mut to_bob) = (store.news(), store.news());
    added(store, candidates("one", "bob", &["3"], NOW)).await;
    told(&mut to_ann, reached("ann")).await;
    added(store, candidates("one", "ann", &["4"], NOW)).await;
    told(&mut to_bob, reached("bob")).await;
    assert_eq!(ok(store.deliveries(&HERE, "bob", 0, 9, NOW).await).len(), 2, "it can be read");
}

pub async fn offers_that_were_swept_are_told_of(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    let mut news = store.news();
    assert_eq!(ok(store.sweep(END, 9).await).len(), 1);
    let one = Expired { realm: HERE, id: "one".to_owned(), peer: "ann".to_owned() };
    let swept = |news: &RendezvousNews| match news {
        RendezvousNews::Expired(expired) => expired.contains(&one),
        RendezvousNews::Delivered { .. }
        | RendezvousNews::Published { .. }
        | RendezvousNews::Missed => false,
    };
    told(&mut news, swept).await;
}
