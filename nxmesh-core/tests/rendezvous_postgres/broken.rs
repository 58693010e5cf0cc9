//! Calls that are given up, and answers of the database that get lost.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt;
use nxmesh_core::{
    conformance::{
        postgres::{Cluster, Database, Durability as OnDisk},
        rendezvous::given::{HERE, NOW, Store, answer, answered, made, there},
    },
    rendezvous::{Answer, Durability, RendezvousNews},
    store::postgres::{PostgresOptions, PostgresRendezvous},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::news::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_and_told_of_though_its_caller_is_gone() {
    let database = Database::create().await;
    let mut options = PostgresOptions::default();
    options.max_connections = 1;
    let opened = PostgresRendezvous::open_with(database.url(), options, Durability::Relaxed).await;
    let store: Store = Arc::new(opened.unwrap());
    let mut news = store.news();
    until(&mut news, |it| *it == RendezvousNews::Missed).await;
    made(&store, "ann", "first", &["t"]).await;
    answered(&store, "first", "bob", NOW).await;
    let to_ann = RendezvousNews::Delivered { realm: HERE, to: "ann".into() };
    until(&mut news, |it| *it == to_ann).await;
    for id in ["1", "2", "3", "4", "5"] {
        made(&store, "ann", id, &["t"]).await;
        // It is given up as soon as it has begun, unless the database is very fast.
        let _ = store.answer(answer(id, "bob", NOW)).now_or_never();
        until(&mut news, |it| *it == to_ann).await;
        assert!(there(&store, id, NOW).await.answered.is_some());
    }
    assert_eq!(database.connections().await, 2, "one for calls, and one to listen");
}

/// What the last word is in, before the way to the database breaks.
const LAST_WORD: &str = "this is the last word";

/// A way to a database that breaks, once, when the database answers to the last word. Answers where it begins.
fn breaking_way(to: PathBuf, folder: &tempfile::TempDir) -> String {
    let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(&to).await.unwrap();
            tokio::spawn(pass_on(client, server, Arc::clone(&broken)));
        }
    });
    folder.path().display().to_string()
}

async fn pass_on(mut client: UnixStream, mut server: UnixStream, broken: Arc<AtomicBool>) {
    let (mut asked, mut said) = (vec![0; 65536], vec![0; 65536]);
    let mut is_last = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(1..) if is_last => {}
                Ok(length @ 1..) => {
                    let word = LAST_WORD.as_bytes();
                    let found = asked[..length].windows(word.len()).any(|it| it == word);
                    is_last = found && !broken.swap(true, Ordering::Relaxed);
                    if server.write_all(&asked[..length]).await.is_err() {
                        return;
                    }
                }
                Ok(0) | Err(_) => return,
            },
            read = server.read(&mut said) => match read {
                Ok(length @ 1..) if !is_last => {
                    if client.write_all(&said[..length]).await.is_err() {
                        return;
                    }
                }
                Ok(_) | Err(_) => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_not_known_whether_a_change_was_made_some_news_were_missed() {
    let cluster = Cluster::start(OnDisk::Relaxed);
    let database = Database::create_on(cluster.url("postgres")).await;
    let folder = tempfile::tempdir().unwrap();
    let host = breaking_way(cluster.socket(), &folder);
    let name = database.url().split(['/', '?']).nth(3).unwrap();
    let url = format!("postgres://nxmesh@localhost/{name}?host={host}");
    let store = PostgresRendezvous::open(&url, Durability::Relaxed).await.unwrap();
    let store: Store = Arc::new(store);
    let mut news = store.news();
    until(&mut news, |it| *it == RendezvousNews::Missed).await;
    for id in ["one", "two"] {
        made(&store, "ann", id, &["t"]).await;
    }
    // The database knows the statement then.
    answered(&store, "one", "bob", NOW).await;
    let last = Answer { sdp: LAST_WORD.into(), ..answer("two", "bob", NOW) };
    let error = store.answer(last).await.unwrap_err();
    assert!(error.is_undecided(), "{error:?}");
    assert!(there(&store, "two", NOW).await.answered.is_some(), "it was made");
    until(&mut news, |it| *it == RendezvousNews::Missed).await;
}
