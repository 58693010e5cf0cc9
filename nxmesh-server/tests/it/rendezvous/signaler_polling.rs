//! Where nothing is pushed the server is asked, and not more than is needed.

use std::time::Duration;

use nxmesh_client::{
    Error,
    rendezvous::{EventFilter, NewOffer, RendezvousClient},
};
use tokio::time::timeout;

use super::door::{Push, Server};

const SOON: Duration = Duration::from_millis(20);
/// So rarely that it is never.
const NEVER: Duration = Duration::from_secs(3600);
/// Less than what passes between looks where the server pushes.
const PATIENCE: Duration = Duration::from_secs(25);

#[tokio::test]
async fn an_interval_of_nothing_is_a_short_one() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(Duration::ZERO).without_push().build();
    let other = server.peer().await.build();
    let mut made = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
    other.answer(made.offer_id(), "v=1", None).await.unwrap();
    assert_eq!(made.answer().await.unwrap().sdp, "v=1");
}

#[tokio::test]
async fn push_is_believed_once_it_says_something() {
    let server = Server::start().await;
    server.door.push_is(Push::Buffered);
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.without_push().build();
    let mut made = one.offer(&NewOffer::new("v=0", ["t"])).await.unwrap();
    let answered = async {
        while server.rendezvous.feed().listeners() == 0 {
            tokio::task::yield_now().await;
        }
        // What is there at the beginning is asked for in any case, and goes on to be.
        while server.door.asked().1 < 3 {
            tokio::task::yield_now().await;
        }
        other.answer(made.offer_id(), "v=1", None).await.unwrap();
        made.answer().await.unwrap()
    };
    let answer = timeout(PATIENCE, answered).await.expect("nobody asks for the answer");
    assert_eq!(answer.sdp, "v=1");
}

#[tokio::test]
async fn who_says_nothing_has_no_events() {
    let server = Server::start().await;
    server.door.push_is(Push::Buffered);
    let hasty = RendezvousClient::builder(&server.at).timeout(SOON * 5).build().unwrap();
    let hasty = hasty.with_credential(server.client.register().await.unwrap());
    let error = hasty.events(&EventFilter::default()).await.unwrap_err();
    assert!(matches!(error, Error::Socket(_)), "{error}");
    server.door.set_push(true);
    hasty.events(&EventFilter::default()).await.unwrap();
}

#[tokio::test]
async fn answers_are_asked_for_once_for_all_that_wait() {
    const MANY: usize = 30;
    let server = Server::start().await;
    let one = server.peer().await.poll_every(SOON * 5).without_push().build();
    let mut made = Vec::new();
    for at in 0..MANY {
        made.push(one.offer(&NewOffer::new(format!("v={at}"), ["t"])).await.unwrap());
    }
    let (answers, candidates) = server.door.asked();
    while server.door.asked().1 < candidates + MANY * 5 {
        tokio::task::yield_now().await;
    }
    let (answers, candidates) =
        (server.door.asked().0 - answers, server.door.asked().1 - candidates);
    assert!(answers * 2 < candidates, "{answers} for {candidates}");
    // Everybody has theirs all the same.
    let other = server.peer().await.without_push().build();
    for negotiation in &made {
        let answer = format!("to {}", negotiation.offer_id());
        other.client().offers().answer(negotiation.offer_id(), &answer, None).await.unwrap();
    }
    for mut negotiation in made {
        let answer = negotiation.answer().await.unwrap();
        assert_eq!(answer.sdp, format!("to {}", negotiation.offer_id()));
    }
}

/// Of those that wait to be read, too.
#[tokio::test]
async fn an_answer_that_comes_after_the_answers_were_asked_for_is_not_lost() {
    // More than are read at once.
    const MANY: usize = 12;
    let server = Server::start().await;
    let one = server.peer().await.poll_every(NEVER).build();
    let mut made = Vec::new();
    for at in 0..MANY {
        made.push(one.offer(&NewOffer::new(format!("v={at}"), ["t"])).await.unwrap());
    }
    let asked = async |candidates: usize| {
        while server.door.asked().1 < candidates {
            tokio::task::yield_now().await;
        }
    };
    asked(MANY).await;
    server.door.hold(true);
    let before = server.door.asked().1;
    server.door.cut();
    asked(before + 8).await;
    let other = server.peer().await.without_push().build();
    for negotiation in &made {
        other.client().offers().answer(negotiation.offer_id(), "v=1", None).await.unwrap();
    }
    // What is pushed comes while those before it are read.
    tokio::time::sleep(SOON * 5).await;
    server.door.hold(false);
    for mut negotiation in made {
        let answer = timeout(PATIENCE, negotiation.answer()).await.expect("it is lost");
        assert_eq!(answer.unwrap().sdp, "v=1");
    }
}
