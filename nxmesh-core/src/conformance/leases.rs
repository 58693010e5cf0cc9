//! What [`LeaseStore`](crate::LeaseStore) promises.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::time::Duration;

use uuid::Uuid;

use super::PATIENCE;
use crate::store::Stores;

const A: Uuid = Uuid::from_u128(1);
const B: Uuid = Uuid::from_u128(2);

pub async fn a_lease_has_one_holder(stores: &Stores) {
    let take = async |name, holder| stores.leases.take_lease(name, holder, PATIENCE).await.unwrap();
    assert!(take("work", A).await);
    assert!(take("work", A).await, "it may be renewed");
    assert!(!take("work", B).await);
    assert!(take("other work", B).await);
}

pub async fn a_lease_that_is_not_renewed_ends(stores: &Stores) {
    let short = Duration::from_millis(200);
    assert!(stores.leases.take_lease("work", A, short).await.unwrap());
    let mut tries = 0;
    while !stores.leases.take_lease("work", B, PATIENCE).await.unwrap() {
        tries += 1;
        assert!(tries < 1000, "it never ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(tries > 0, "it did not last");
    assert!(!stores.leases.take_lease("work", A, short).await.unwrap());
}

pub async fn only_its_holder_returns_a_lease(stores: &Stores) {
    assert!(stores.leases.take_lease("work", A, PATIENCE).await.unwrap());
    stores.leases.return_lease("work", B).await.unwrap();
    assert!(!stores.leases.take_lease("work", B, PATIENCE).await.unwrap());
    stores.leases.return_lease("work", A).await.unwrap();
    assert!(stores.leases.take_lease("work", B, PATIENCE).await.unwrap());
}

pub async fn of_many_at_once_one_takes_a_lease(stores: &Stores) {
    let takers = (1..=16).map(|it| stores.leases.take_lease("work", Uuid::from_u128(it), PATIENCE));
    let taken = futures::future::try_join_all(takers).await.unwrap();
    assert_eq!(taken.into_iter().filter(|it| *it).count(), 1);
}
