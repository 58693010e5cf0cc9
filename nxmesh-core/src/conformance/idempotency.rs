//! What [`IdempotencyStore`](crate::IdempotencyStore) promises.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use uuid::Uuid;

use super::given::{at, reservation};
use crate::{Held, Reservation, store::Stores, tenancy::Sealed};

/// What a reservation is held for, once it is there.
fn held(of: &Reservation, answer: Option<&Sealed>) -> Held {
    let Reservation { request, reserved_at, .. } = *of;
    Held { request, reserved_at, answer: answer.cloned() }
}

/// Bytes of all values, and more of them than fit on a page.
fn sealed() -> Sealed {
    Sealed::from_bytes((0..100_000_u32).map(|it| (it % 251) as u8).collect())
}

pub async fn a_key_is_reserved_once_and_says_what_for(stores: &Stores) {
    let (first, other) = (reservation(1, 1, 0), reservation(2, 1, 0));
    let store = &stores.idempotency;
    assert_eq!(store.reserve(&first).await.unwrap(), None);
    for again in [reservation(1, 1, 1), reservation(1, 2, 2)] {
        assert_eq!(store.reserve(&again).await.unwrap(), Some(held(&first, None)));
    }
    assert_eq!(store.reserve(&other).await.unwrap(), None, "another key");
}

pub async fn of_many_at_once_one_reserves_a_key(stores: &Stores) {
    let tries: Vec<_> = (0..32).map(|number| reservation(1, number, 0)).collect();
    let reserve = tries.iter().map(|it| stores.idempotency.reserve(it));
    let answers = futures::future::try_join_all(reserve).await.unwrap();
    let won: Vec<_> = tries.iter().zip(&answers).filter(|(_, held)| held.is_none()).collect();
    assert_eq!(won.len(), 1);
    let winner = held(won[0].0, None);
    assert!(answers.into_iter().flatten().all(|it| it == winner));
}

pub async fn an_answer_is_kept_beside_its_key(stores: &Stores) {
    let (first, answer) = (reservation(1, 1, 0), sealed());
    let store = &stores.idempotency;
    assert_eq!(store.reserve(&first).await.unwrap(), None);
    // Twice: whoever does not hear that it was kept says it again.
    for _ in 0..2 {
        assert!(store.complete(&first.key, first.ticket, &answer).await.unwrap());
        let found = store.reserve(&reservation(1, 1, 59)).await.unwrap();
        assert_eq!(found, Some(held(&first, Some(&answer))));
    }
}

pub async fn an_answer_needs_the_ticket_that_holds_the_key(stores: &Stores) {
    let (first, later) = (reservation(1, 1, 0), reservation(1, 1, 60));
    let store = &stores.idempotency;
    assert!(!store.complete(&first.key, first.ticket, &sealed()).await.unwrap());
    assert_eq!(store.reserve(&first).await.unwrap(), None);
    assert!(!store.complete(&first.key, Uuid::nil(), &sealed()).await.unwrap());
    assert_eq!(store.reserve(&later).await.unwrap(), None);
    assert!(!store.complete(&first.key, first.ticket, &sealed()).await.unwrap());
    let found = store.reserve(&reservation(1, 1, 61)).await.unwrap();
    assert_eq!(found, Some(held(&later, None)));
}

pub async fn a_released_key_is_free(stores: &Stores) {
    let (first, next) = (reservation(1, 1, 0), reservation(1, 2, 1));
    let store = &stores.idempotency;
    assert_eq!(store.reserve(&first).await.unwrap(), None);
    assert!(store.release(&first.key, first.ticket).await.unwrap());
    assert!(!store.release(&first.key, first.ticket).await.unwrap());
    assert_eq!(store.reserve(&next).await.unwrap(), None);
    let found = store.reserve(&reservation(1, 1, 2)).await.unwrap();
    assert_eq!(found, Some(held(&next, None)));
}

pub async fn a_key_is_released_only_by_its_ticket_and_without_an_answer(stores: &Stores) {
    let (first, answer) = (reservation(1, 1, 0), sealed());
    let store = &stores.idempotency;
    assert_eq!(store.reserve(&first).await.unwrap(), None);
    assert!(!store.release(&first.key, Uuid::nil()).await.unwrap());
    assert!(store.complete(&first.key, first.ticket, &answer).await.unwrap());
    assert!(!store.release(&first.key, first.ticket).await.unwrap());
    let found = store.reserve(&reservation(1, 1, 1)).await.unwrap();
    assert_eq!(found, Some(held(&first, Some(&answer))));
}

pub async fn a_key_is_free_when_its_time_is_over(stores: &Stores) {
    let (first, last, next) = (reservation(1, 1, 0), reservation(1, 1, 59), reservation(1, 2, 60));
    let store = &stores.idempotency;
    assert_eq!(store.reserve(&first).await.unwrap(), None);
    assert!(store.complete(&first.key, first.ticket, &sealed()).await.unwrap());
    assert!(store.reserve(&last).await.unwrap().is_some());
    assert_eq!(store.reserve(&next).await.unwrap(), None);
    let found = store.reserve(&reservation(1, 1, 61)).await.unwrap();
    assert_eq!(found, Some(held(&next, None)), "the old answer is gone");
}

pub async fn keys_that_expired_are_dropped(stores: &Stores) {
    let store = &stores.idempotency;
    for number in 0..6 {
        let made = reservation(number, 1, number.into());
        assert_eq!(store.reserve(&made).await.unwrap(), None);
        assert!(store.complete(&made.key, made.ticket, &sealed()).await.unwrap());
    }
    assert_eq!(store.drop_expired(at(62)).await.unwrap(), 3);
    assert_eq!(store.drop_expired(at(62)).await.unwrap(), 0);
    // A time at which all that is there is held.
    for number in 0..6 {
        let found = store.reserve(&reservation(number, 2, 0)).await.unwrap();
        assert_eq!(found.is_some(), number > 2, "{number}");
    }
}
