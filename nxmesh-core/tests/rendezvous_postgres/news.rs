//! News between servers.

use nxmesh_core::{
    conformance::{
        postgres::Database,
        rendezvous::given::{END, HERE, NOW, added, answered, candidates, made, ok, texts},
    },
    rendezvous::{Durability, RendezvousNews, RendezvousStore},
    store::postgres::{PostgresOptions, PostgresRendezvous},
};
use tokio::sync::broadcast::Receiver;

use crate::{PATIENCE, open, two_servers};

/// Waits for such news, and answers what came before.
pub(crate) async fn until(
    news: &mut Receiver<RendezvousNews>,
    what: impl Fn(&RendezvousNews) -> bool,
) -> Vec<RendezvousNews> {
    let mut before = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, news.recv()).await;
        let next = next.expect("it is told").unwrap();
        if what(&next) {
            return before;
        }
        before.push(next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_hears_what_happens_at_another() {
    let (stores, _database) = two_servers().await;
    let mut news = stores[1].news();
    // From when on it listens is told so.
    until(&mut news, |it| *it == RendezvousNews::Missed).await;
    made(&stores[0], "ann", "one", &["b", "a"]).await;
    let offers = [("one".to_owned(), texts(&["b", "a"]))].into();
    let published = RendezvousNews::Published { realm: HERE, offers };
    until(&mut news, |it| *it == published).await;
    assert!(ok(stores[1].offer(&HERE, "one", NOW).await).is_some(), "it can be read");
    let to_ann = RendezvousNews::Delivered { realm: HERE, to: "ann".into() };
    answered(&stores[0], "one", "bob", NOW).await;
    until(&mut news, |it| *it == to_ann).await;
    assert_eq!(ok(stores[1].deliveries(&HERE, "ann", 0, 9, NOW).await).len(), 1);
    added(&stores[0], candidates("one", "ann", &["1"], NOW)).await;
    let to_bob = RendezvousNews::Delivered { realm: HERE, to: "bob".into() };
    until(&mut news, |it| *it == to_bob).await;
    let swept = ok(stores[0].sweep(END, 9).await);
    until(&mut news, |it| *it == RendezvousNews::Expired(swept.clone().into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cut_off_is_told_that_news_were_missed() {
    let (store, database) = open().await;
    let mut news = store.news();
    until(&mut news, |it| *it == RendezvousNews::Missed).await;
    assert!(database.cut_off_all().await > 0);
    until(&mut news, |it| *it == RendezvousNews::Missed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_is_told_to_look() {
    let database = Database::create().await;
    let mut options = PostgresOptions::default();
    options.listen = false;
    let opened = PostgresRendezvous::open_with(database.url(), options, Durability::Durable).await;
    let mut news = opened.unwrap().news();
    // The store is gone by now: what it had to tell comes to an end.
    assert!(news.recv().await.is_err());
    let mut options = PostgresOptions::default();
    options.listen = false;
    let store = PostgresRendezvous::open_with(database.url(), options, Durability::Durable).await;
    let store = store.unwrap();
    let mut news = store.news();
    until(&mut news, |it| *it == RendezvousNews::Missed).await;
}
