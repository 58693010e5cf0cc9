//! Who looks for an offer finds it, whatever becomes of push and of single looks.

use std::time::Duration;

use nxmesh_client::rendezvous::{NewOffer, Offer, Signaler};
use tokio::time::timeout;

use super::door::{Push, Server};

const SOON: Duration = Duration::from_millis(20);
/// Less than what passes between looks where the server pushes.
const PATIENCE: Duration = Duration::from_secs(25);

async fn found(by: &Signaler) -> Offer {
    timeout(PATIENCE, by.find("t")).await.expect("what is there is not found").unwrap()
}

#[tokio::test]
async fn what_is_there_is_found_before_push_is() {
    let server = Server::start().await;
    for push in [Push::Mute, Push::Buffered] {
        server.door.push_is(push);
        let one = server.peer().await.poll_every(SOON).build();
        let other = server.peer().await.poll_every(SOON).build();
        let made = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
        assert_eq!(found(&other).await.id, made.offer_id(), "{push:?}");
        one.client().offers().delete(made.offer_id()).await.unwrap();
        // And what comes later is found by looking again.
        let later = async {
            tokio::time::sleep(SOON * 3).await;
            one.offer(&NewOffer::new("v=1", ["t"])).await.unwrap()
        };
        let (found, made) = tokio::join!(found(&other), later);
        assert_eq!(found.id, made.offer_id(), "{push:?}");
        one.client().offers().delete(made.offer_id()).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_look_that_fails_the_next_one_comes_soon() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.poll_every(SOON).build();
    // Push is there, and no look works, until there is an offer that nobody is told of.
    server.door.refuse_looks(true);
    let others = async {
        // A look is tried four times, and one may end early, when push comes to be there.
        while server.door.refused_looks() < 8 {
            tokio::task::yield_now().await;
        }
        server.door.push_is(Push::Held);
        let made = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
        server.door.refuse_looks(false);
        made
    };
    let (found, made) = tokio::join!(found(&other), others);
    assert_eq!(found.id, made.offer_id());
}

#[tokio::test]
async fn one_s_own_offers_hide_nobody_s() {
    let server = Server::start().await;
    let one = server.peer().await.build();
    let other = server.peer().await.poll_every(SOON).without_push().build();
    let theirs = one.offer(&NewOffer::new("v=theirs", ["t"])).await.unwrap();
    // More than a page, and the newest come first.
    let own: Vec<_> = (0..100).map(|it| NewOffer::new(format!("v={it}"), ["t"])).collect();
    for own in [&own, &own] {
        other.client().offers().publish(own).await.unwrap();
    }
    assert_eq!(found(&other).await.id, theirs.offer_id());
}
