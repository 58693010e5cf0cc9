//! What ends an offer, and what does not: late news, lost answers, and who takes it back.

use std::time::Duration;

use chrono::TimeDelta;
use nxmesh_client::rendezvous::{NewOffer, Signal};
use nxmesh_core::{
    Clock, ManualClock, SystemClock,
    rendezvous::{FeedEvent, Realm, RendezvousSettings},
};

use super::door::{Push, Server};

const SOON: Duration = Duration::from_millis(20);
/// So rarely that it is never.
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn late_news_of_an_end_do_not_end_what_is_there_again() {
    let clock = ManualClock::new(SystemClock.now());
    let mut settings = RendezvousSettings::default();
    settings.sweep_interval = SOON;
    let server = Server::start_by(clock.clone(), settings).await;
    let one = server.peer().await.poll_every(NEVER).build();
    let new = NewOffer::new("v=0", ["t"]);
    let made = one.offer(&new).await.unwrap();
    let feed = server.rendezvous.feed();
    while feed.listeners() == 0 {
        tokio::task::yield_now().await;
    }
    server.door.push_is(Push::Held);
    let me = one.client().credential().unwrap().peer_id.clone();
    let mut told = feed.subscribe(Realm::Offers, me, 0, Vec::new()).unwrap();
    clock.advance(TimeDelta::hours(1));
    assert!(matches!(told.next().await.unwrap(), FeedEvent::Expired { .. }));

    let mut again = one.offer(&new).await.unwrap();
    assert_eq!(again.offer_id(), made.offer_id());
    let other = server.peer().await.without_push().build();
    other.answer(again.offer_id(), "v=1", None).await.unwrap();
    server.door.push_is(Push::Passed);
    assert_eq!(again.answer().await.unwrap().sdp, "v=1");
    // What comes after the news is heard too.
    let there = other.client().ice_candidates();
    there.add(again.offer_id(), &["c"]).await.unwrap();
    assert!(matches!(again.next().await.unwrap(), Some(Signal::Candidate(_))));
}

#[tokio::test]
async fn an_answer_that_counts_is_gone_on_with_though_nobody_heard_so() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.poll_every(SOON).build();
    let mut here = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
    server.door.lose_answers(true);
    let mut there = other.answer(here.offer_id(), "v=1", None).await.unwrap();
    server.door.lose_answers(false);
    assert_eq!(here.answer().await.unwrap().sdp, "v=1");
    here.sender().send(&["c"]).await.unwrap();
    assert!(matches!(there.next().await.unwrap(), Some(Signal::Candidate(_))));

    // The same by a second call, where the first one failed whole.
    let here = one.offer(&NewOffer::new("v=2", ["t"])).await.unwrap();
    let lost = other.client().offers().answer(here.offer_id(), "v=3", None).await;
    assert!(lost.is_ok(), "{lost:?}");
    let mut there = other.answer(here.offer_id(), "v=3", None).await.unwrap();
    here.sender().send(&["c"]).await.unwrap();
    assert!(matches!(there.next().await.unwrap(), Some(Signal::Candidate(_))));
}

#[tokio::test]
async fn an_answer_that_does_not_count_is_told_as_it_was() {
    let server = Server::start().await;
    let one = server.peer().await.build();
    let other = server.peer().await.build();
    let here = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
    server.door.refuse(502);
    let error = other.answer(here.offer_id(), "v=1", None).await.unwrap_err();
    assert_eq!(error.rendezvous().map(|it| it.status), Some(502));
    server.door.pass_again();
    other.answer(here.offer_id(), "v=1", None).await.unwrap();
    // Neither a third one nor who made the offer did.
    for late in [&server.peer().await.build(), &one] {
        let error = late.answer(here.offer_id(), "v=2", None).await.unwrap_err();
        assert!(error.rendezvous().unwrap().is_already_answered(), "{error}");
    }
}

#[tokio::test]
async fn an_offer_that_is_taken_back_is_found_no_more() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.poll_every(SOON).without_push().build();
    let made = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
    let listed = async || server.client.offers().by_topic("t", None, None).await.unwrap().total;
    assert_eq!(listed().await, 1);
    made.withdraw().await.unwrap();
    assert_eq!(listed().await, 0);

    // It ends for who answered it, who may not take it back.
    let here = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
    let there = other.answer(here.offer_id(), "v=1", None).await.unwrap();
    assert!(there.withdraw().await.unwrap_err().is_not_found());
    let mut there = other.answer(here.offer_id(), "v=1", None).await.unwrap();
    here.withdraw().await.unwrap();
    assert_eq!(there.next().await.unwrap(), None);

    // One that is over already is taken back all the same.
    let gone = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
    one.client().offers().delete(gone.offer_id()).await.unwrap();
    gone.withdraw().await.unwrap();
}
