//! Dropping what has expired, when it is much.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::DateTime;
use nxmesh_core::{
    ManualClock,
    conformance::rendezvous::given::{
        END, HERE, NOW, Store, added, candidates, make, offer, ok, publish,
    },
    rendezvous::{AddCandidates, Rendezvous, RendezvousSettings},
};

use crate::{PATIENCE, open};

/// Refuses, as a call that takes too long is, to delete more rows of a table at once.
fn refuse_more(table: &str, most: u32) -> String {
    format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF (SELECT count(*) FROM gone) > {most} THEN
                 RAISE 'it takes too long' USING ERRCODE = '57014';
             END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER refuse AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
         FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn where_many_take_too_long_fewer_are_swept_together() {
    let (store, database) = open().await;
    let store: Store = Arc::new(store);
    let new = (0..250).map(|it| offer(&format!("{it}"), &["t"]));
    make(&store, publish("ann", new.collect(), NOW)).await;
    database.run(&refuse_more("rendezvous_offers", 3)).await;
    let mut settings = RendezvousSettings::default();
    settings.sweep_interval = Duration::from_millis(1);
    let clock = ManualClock::new(DateTime::from_timestamp_millis(END).unwrap());
    let builder = Rendezvous::builder().shared_store(Arc::clone(&store));
    let rendezvous = builder.clock(clock).settings(settings).build().unwrap();
    let began = Instant::now();
    while ok(store.count(&HERE).await) > 0 {
        assert!(began.elapsed() < PATIENCE, "they stay");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rendezvous.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_ends_with_so_many_candidates_too() {
    let (store, database) = open().await;
    let store: Store = Arc::new(store);
    let bodies = vec!["c"; 1000];
    for id in 0..12 {
        let id = format!("{id}");
        make(&store, publish("ann", vec![offer(&id, &["t"])], NOW)).await;
        for by in ["ann", "bob"] {
            let add = candidates(&id, by, &bodies, NOW);
            added(&store, AddCandidates { most_early: Some(1000), ..add }).await;
        }
    }
    database.run(&refuse_more("rendezvous_candidates", 11_999)).await;
    let mut swept = Vec::new();
    loop {
        let some = ok(store.sweep(END, 200).await);
        if some.is_empty() {
            break;
        }
        swept.extend(some.into_iter().map(|it| it.id));
    }
    assert_eq!(swept.len(), 12);
    assert_eq!(database.rows("rendezvous_candidates").await, 0);
}
