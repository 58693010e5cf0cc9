//! A call that is sent again while the clock goes on.

use chrono::{DateTime, TimeDelta, Utc};
use nxmesh_core::{
    Clock, ManualClock,
    rendezvous::{
        Rendezvous, RendezvousSettings,
        rpc::{RpcHeaders, RpcVerdict},
    },
};
use serde_json::{Value, json};

use super::{
    super::given::{On, on_each_store},
    given::{Peer, START, error, result},
};

/// A clock of which time passes between any two looks.
#[derive(Debug, Clone)]
struct Ticking(ManualClock);

impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        self.0.advance(TimeDelta::milliseconds(5));
        self.0.now()
    }
}

async fn a_call_that_is_sent_again_at_the_last_moment_is_not_done_again(on: On) {
    let (store, _kept) = on.open().await;
    let clock = Ticking(ManualClock::new(DateTime::from_timestamp_millis(START).unwrap()));
    let mut settings = RendezvousSettings::default();
    settings.sweep_interval = std::time::Duration::from_secs(3600);
    let builder = Rendezvous::builder().shared_store(store.clone()).settings(settings);
    let rendezvous = builder.clock(clock.clone()).build().unwrap();
    let peer = Peer::new(1);
    let offer = json!({"tags": ["a"], "offers": [{"sdp": "v=0"}], "ttl": 3_600_000});
    let batch = json!([peer.call(START, "publishOffer", offer)]).to_string();
    let send = async || {
        let answer = rendezvous.rpc().answer(batch.clone(), RpcHeaders::default()).await;
        assert_eq!(answer.verdict, RpcVerdict::Answered);
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    result(&send().await[0]);
    // The signature is good when it is looked at, and too old when the call is to be done.
    let passed = clock.0.now().timestamp_millis() - START;
    clock.0.advance(TimeDelta::milliseconds(59_993 - passed));
    // Another server, whose clock is ahead, has swept.
    store.sweep(START + 61_000, 100).await.unwrap();
    let again = send().await;
    assert_eq!(error(&again[0]).1, "Nonce already used (replay attack detected)");
    assert_eq!(rendezvous.rpc().offers().await.unwrap(), 1);
    rendezvous.shutdown().await;
}

on_each_store! {
    a_call_that_is_sent_again_at_the_last_moment_is_not_done_again,
}
