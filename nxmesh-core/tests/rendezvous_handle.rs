//! What the handle of rendezvous promises whatever store it is on.
#![cfg(all(feature = "rendezvous", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use nxmesh_core::{
    Clock,
    rendezvous::{
        Durability, KeyPair, Rendezvous, RendezvousSettings,
        rpc::{RpcAnswer, RpcHeaders},
    },
    store::{memory::MemoryRendezvous, sqlite::SqliteRendezvous},
};

const NOW: i64 = 1_700_000_000_000;

/// Shows these times, one after the other; then the last of them.
#[derive(Debug, Clone)]
struct Script(Arc<Mutex<VecDeque<i64>>>);

impl Script {
    fn show(&self, times: impl Into<VecDeque<i64>>) {
        *self.0.lock().unwrap() = times.into();
    }
}

impl Clock for Script {
    fn now(&self) -> DateTime<Utc> {
        let mut times = self.0.lock().unwrap();
        let next = if times.len() > 1 { times.pop_front() } else { times.front().copied() };
        DateTime::from_timestamp_millis(next.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_call_signed_once_is_done_once_while_its_time_runs_out() {
    let clock = Script(Arc::new(Mutex::new([NOW].into())));
    let mut settings = RendezvousSettings::default();
    // By a clock of its own, so that it takes none of the times.
    settings.sweep_interval = Duration::from_secs(3600);
    let rendezvous = Rendezvous::builder().store(MemoryRendezvous::new()).clock(clock.clone());
    let rendezvous = rendezvous.settings(settings).build().unwrap();
    let pair = KeyPair::generate();
    let nonce = "123e4567-e89b-42d3-a456-426614174000";
    let params = r#"{"offers":[{"sdp":"v=0"}],"tags":["a"],"ttl":300000}"#;
    let signature = pair.sign(&format!("{NOW}:{nonce}:publishOffer:{params}"));
    let key = pair.public_key();
    let text = format!(
        r#"[{{"method":"publishOffer","params":{params},"auth":{{"publicKey":"{key}","timestamp":{NOW},"nonce":"{nonce}","signature":"{signature}"}}}}]"#
    );
    let call = async || {
        let RpcAnswer { body, .. } =
            rendezvous.rpc().answer(text.clone(), RpcHeaders::default()).await;
        String::from_utf8(body).unwrap()
    };
    let done = call().await;
    assert!(done.starts_with(r#"[{"success":true"#), "{done}");
    // It is read as late as may be, and its nonce is asked for later still.
    for later in [60_000, 60_001, 60_100, 90_000] {
        clock.show([NOW + 60_000, NOW + later]);
        let again = call().await;
        assert!(again.contains("Nonce already used"), "{later}: {again}");
    }
    rendezvous.shutdown().await;
}

#[tokio::test]
async fn with_the_last_handle_all_ends_and_the_store_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.db");
    for _ in 0..3 {
        let open = async {
            loop {
                match SqliteRendezvous::open(&path, Durability::Durable).await {
                    Ok(store) => return store,
                    // What runs in the background ends a moment after the handle.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let store = tokio::time::timeout(Duration::from_secs(30), open).await.unwrap();
        let rendezvous = Rendezvous::builder().store(store).build().unwrap();
        let other = rendezvous.clone();
        drop(rendezvous);
        other.offers().register().unwrap();
        assert!(!other.tasks().stopping().is_cancelled());
    }
}
