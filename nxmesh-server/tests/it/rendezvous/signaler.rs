//! The client that pairs peers, with a server whose push comes and goes.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use nxmesh_client::{
    Error,
    rendezvous::{Answer, Credential, Negotiation, NewOffer, Role, Signal, Signaler},
};
use nxmesh_core::{Clock, ManualClock, SystemClock, rendezvous::RendezvousSettings};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::door::Server;

const SOON: Duration = Duration::from_millis(20);
/// So rarely that it is never.
const NEVER: Duration = Duration::from_secs(3600);

fn offer(sdp: &str) -> NewOffer {
    NewOffer::new(sdp, ["t"])
}

/// Everything that comes until there are so many candidates: the answer, if one came, and the candidates.
async fn hear(negotiation: &mut Negotiation, most: usize) -> (Option<Answer>, Vec<Value>) {
    let (mut answer, mut candidates) = (None, Vec::new());
    while candidates.len() < most {
        match negotiation.next().await.unwrap().unwrap() {
            Signal::Answer(it) => assert_eq!((answer.replace(it), candidates.len()), (None, 0)),
            Signal::Candidate(it) => candidates.push(it.candidate),
        }
    }
    (answer, candidates)
}

fn numbered(side: &str, numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers.map(|it| json!({"candidate": format!("{side} {it}")})).collect()
}

/// Two who found each other.
async fn paired(one: &Signaler, other: &Signaler) -> (Negotiation, Negotiation) {
    let here = one.offer(&offer("v=0")).await.unwrap();
    let found = other.find("t").await.unwrap();
    assert_eq!((found.id.as_str(), found.sdp.as_str()), (here.offer_id(), "v=0"));
    let there = other.answer(&found.id, "v=1", None).await.unwrap();
    (here, there)
}

#[tokio::test]
async fn two_peers_tell_each_other_by_push_alone() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(NEVER).build();
    let other = server.peer().await.poll_every(NEVER).build();
    let (mut here, mut there) = paired(&one, &other).await;
    assert_eq!((here.role(), there.role()), (Role::Offerer, Role::Answerer));
    let answer = here.answer().await.unwrap();
    assert_eq!(answer.sdp, "v=1");
    // One after the other: what is pushed is all there is to hear it by.
    for round in 0..5 {
        let (from_here, from_there) =
            (numbered("here", round..round + 1), numbered("there", round..round + 1));
        here.sender().send(&from_here).await.unwrap();
        assert_eq!(hear(&mut there, 1).await, (None, from_here));
        there.sender().send(&from_there).await.unwrap();
        assert_eq!(hear(&mut here, 1).await, (None, from_there));
    }
}

#[tokio::test]
async fn two_peers_tell_each_other_without_push() {
    let server = Server::start().await;
    server.door.set_push(false);
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.poll_every(SOON).without_push().build();
    let (mut here, mut there) = paired(&one, &other).await;
    assert_eq!(here.answer().await.unwrap().sdp, "v=1");
    here.sender().send(&numbered("here", 0..250)).await.unwrap();
    there.sender().send(&numbered("there", 0..250)).await.unwrap();
    assert_eq!(hear(&mut there, 250).await, (None, numbered("here", 0..250)));
    assert_eq!(hear(&mut here, 250).await, (None, numbered("there", 0..250)));
}

#[tokio::test]
async fn candidates_from_before_the_answer_wait_for_it() {
    let server = Server::start().await;
    let one = server.peer().await.build();
    let other = server.peer().await.build();
    let mut here = one.offer(&offer("v=0")).await.unwrap();
    here.sender().send(&numbered("early", 0..3)).await.unwrap();
    let mut there = other.answer(here.offer_id(), "v=1", None).await.unwrap();
    there.sender().send(&numbered("there", 0..2)).await.unwrap();
    assert_eq!(hear(&mut there, 3).await, (None, numbered("early", 0..3)));
    let (answer, candidates) = hear(&mut here, 2).await;
    assert_eq!(answer.unwrap().sdp, "v=1");
    assert_eq!(candidates, numbered("there", 0..2));
}

/// Push ends, is not there, and comes back, and the server is away, while two peers tell each other 300 things.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_comes_twice_whatever_becomes_of_push() {
    const ALL: usize = 300;
    let server = Server::start().await;
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.poll_every(SOON).build();
    let (mut here, mut there) = paired(&one, &other).await;
    let (from_here, from_there) = (here.sender(), there.sender());
    let door = &server.door;
    let tell = async {
        for at in 0..ALL {
            match at {
                25 | 60 | 65 | 66 | 200 | 295 => door.cut(),
                75 | 205 => {
                    door.set_push(false);
                    door.cut();
                }
                150 | 250 => door.set_push(true),
                _ => {}
            }
            if at == 175 {
                door.refuse(503);
                door.cut();
                tokio::time::sleep(SOON * 3).await;
                door.pass_again();
            }
            from_here.send(&numbered("here", at..at + 1)).await.unwrap();
            from_there.send(&numbered("there", at..at + 1)).await.unwrap();
        }
    };
    let (_, (answer, to_here), (nothing, to_there)) =
        tokio::join!(tell, hear(&mut here, ALL), hear(&mut there, ALL));
    assert_eq!((answer.unwrap().sdp.as_str(), nothing), ("v=1", None));
    assert_eq!(to_here, numbered("there", 0..ALL));
    assert_eq!(to_there, numbered("here", 0..ALL));
}

#[tokio::test]
async fn what_is_pushed_while_the_server_is_asked_is_not_lost() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(NEVER).build();
    let other = server.peer().await.poll_every(NEVER).build();
    let (mut known, known_there) = paired(&one, &other).await;
    known_there.sender().send(&numbered("known", 0..1)).await.unwrap();
    assert_eq!(hear(&mut known, 1).await.1, numbered("known", 0..1));

    server.door.hold(true);
    let mut made = one.offer(&offer("v=2")).await.unwrap();
    server.door.holds().await;
    let there = other.answer(made.offer_id(), "v=3", None).await.unwrap();
    there.sender().send(&numbered("there", 0..2)).await.unwrap();
    // What is pushed comes in its order: what came before this has come.
    known_there.sender().send(&numbered("known", 1..2)).await.unwrap();
    assert_eq!(hear(&mut known, 1).await.1, numbered("known", 1..2));
    server.door.hold(false);
    let (answer, candidates) = hear(&mut made, 2).await;
    assert_eq!((answer.unwrap().sdp.as_str(), candidates), ("v=3", numbered("there", 0..2)));
}

#[tokio::test]
async fn what_a_slow_reader_has_not_read_waits_at_the_server() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.poll_every(SOON).build();
    let (mut here, mut there) = paired(&one, &other).await;
    // More than waits here for one negotiation.
    here.sender().send(&numbered("here", 0..900)).await.unwrap();
    // One that reads hears its own meanwhile.
    there.sender().send(&numbered("there", 0..1)).await.unwrap();
    assert_eq!(hear(&mut here, 1).await.1, numbered("there", 0..1));
    assert_eq!(hear(&mut there, 900).await.1, numbered("here", 0..900));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_negotiations_of_one_peer_are_kept_apart() {
    const MANY: usize = 30;
    let server = Server::start().await;
    let one = server.peer().await.build();
    let mut others = JoinSet::new();
    let mut mine = Vec::new();
    for at in 0..MANY {
        let made = one.offer(&offer(&format!("v={at}"))).await.unwrap();
        let (other, id) = (server.peer().await.build(), made.offer_id().to_owned());
        others.spawn(async move {
            let there = other.answer(&id, &format!("answer to {at}"), None).await.unwrap();
            there.sender().send(&numbered(&format!("of {at}"), 0..3)).await.unwrap();
        });
        mine.push(made);
    }
    others.join_all().await;
    for (at, mut negotiation) in mine.into_iter().enumerate() {
        let (answer, candidates) = hear(&mut negotiation, 3).await;
        assert_eq!(answer.unwrap().sdp, format!("answer to {at}"));
        assert_eq!(candidates, numbered(&format!("of {at}"), 0..3));
    }
}

#[tokio::test]
async fn who_looks_finds_who_comes_later_and_never_themselves() {
    let server = Server::start().await;
    // By push alone, and by asking alone; a comma stands between topics where they are pushed.
    for (poll_every, push, topic) in [(NEVER, true, "t"), (SOON, false, "t"), (SOON, true, "a,b")] {
        server.door.set_push(push);
        let looks = server.peer().await.poll_every(poll_every).build();
        let own = looks.offer(&NewOffer::new("v=own", [topic])).await.unwrap();
        let comes = server.peer().await.build();
        let come = async {
            // Whoever listens for new offers is heard of at the server.
            while push && poll_every == NEVER && server.rendezvous.feed().listeners() < 3 {
                tokio::task::yield_now().await;
            }
            comes.offer(&NewOffer::new("v=0", [topic, "other"])).await.unwrap()
        };
        let (found, made) = tokio::join!(looks.find(topic), come);
        assert_eq!(found.unwrap().id, made.offer_id());
        for made in [(&looks, own), (&comes, made)] {
            made.0.client().offers().delete(made.1.offer_id()).await.unwrap();
        }
        looks.shutdown().await;
        comes.shutdown().await;
    }
}

#[tokio::test]
async fn of_two_who_answer_one_does_and_the_other_is_told() {
    let server = Server::start().await;
    let one = server.peer().await.build();
    let mut new = offer("v=0");
    new.secret = Some("word".to_owned().into());
    let made = one.offer(&new).await.unwrap();
    let other = server.peer().await.build();
    let secret = "word".to_owned().into();
    let error = other.answer(made.offer_id(), "v=1", None).await.unwrap_err();
    assert_eq!(error.to_string(), "Invalid or missing secret");
    other.answer(made.offer_id(), "v=1", Some(&secret)).await.unwrap();
    let late = server.peer().await.build();
    let error = late.answer(made.offer_id(), "v=1", Some(&secret)).await.unwrap_err();
    assert!(error.rendezvous().unwrap().is_already_answered(), "{error}");
}

#[tokio::test]
async fn an_offer_that_expires_ends_its_negotiation() {
    for push in [true, false] {
        let clock = ManualClock::new(SystemClock.now());
        let mut settings = RendezvousSettings::default();
        settings.sweep_interval = SOON;
        let server = Server::start_by(clock.clone(), settings).await;
        server.door.set_push(push);
        let one = server.peer().await.poll_every(if push { NEVER } else { SOON }).build();
        let other = server.peer().await.poll_every(SOON).without_push().build();
        let (mut here, mut there) = paired(&one, &other).await;
        assert_eq!(here.answer().await.unwrap().sdp, "v=1");
        let mut lonely = one.offer(&NewOffer::new("v=2", ["nobody"])).await.unwrap();
        clock.advance(TimeDelta::hours(1));
        let error = lonely.answer().await.unwrap_err();
        assert_eq!(error.to_string(), "Offer not found or expired");
        assert!(error.is_not_found());
        assert_eq!(here.next().await.unwrap(), None);
        assert_eq!(there.next().await.unwrap(), None);
        let error = there.sender().send(&["c"]).await.unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }
}

#[tokio::test]
async fn who_is_refused_is_told_why() {
    let server = Server::start().await;
    let nobody = Credential { peer_id: "p".into(), secret: "s".to_owned().into() };
    let stranger = Signaler::new(&server.client, nobody);
    let error = stranger.offer(&offer("v=0")).await.unwrap_err();
    assert_eq!(error.to_string(), "Invalid credentials");
    // One who was let in, and is not any more.
    let one = server.peer().await.poll_every(SOON).build();
    let mut made = one.offer(&offer("v=0")).await.unwrap();
    server.door.refuse(401);
    server.door.cut();
    let error = made.next().await.unwrap_err();
    assert_eq!(
        error.rendezvous().map(|it| (it.status, it.message.as_str())),
        Some((401, "Not now"))
    );
    assert_eq!(made.next().await.unwrap(), None);
    let error = one.find("t").await.unwrap_err();
    assert_eq!(error.rendezvous().map(|it| it.status), Some(401));
}

#[tokio::test]
async fn a_signaler_that_is_shut_down_ends_its_negotiations() {
    let server = Server::start().await;
    let one = server.peer().await.build();
    let mut made = one.offer(&offer("v=0")).await.unwrap();
    one.shutdown().await;
    assert_eq!(made.next().await.unwrap(), None);
    assert_eq!(one.offer(&offer("v=1")).await.unwrap().next().await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let server = Server::start().await;
    let one = server.peer().await.poll_every(SOON).build();
    let other = server.peer().await.poll_every(SOON).build();
    let (mut here, there) = paired(&one, &other).await;
    server.door.refuse(503);
    server.door.cut();
    let error = there.sender().send(&["c"]).await.unwrap_err();
    assert!(matches!(&error, Error::Rendezvous(it) if it.status == 503), "{error}");
    let back = async {
        tokio::time::sleep(SOON * 5).await;
        server.door.pass_again();
        there.sender().send(&numbered("there", 0..1)).await.unwrap();
    };
    let ((), (answer, candidates)) = tokio::join!(back, hear(&mut here, 1));
    assert_eq!((answer.unwrap().sdp.as_str(), candidates), ("v=1", numbered("there", 0..1)));
}

#[tokio::test]
async fn nothing_works_any_more_once_nobody_has_it() {
    let server = Server::start().await;
    let one = server.peer().await.build();
    let mut made = one.offer(&offer("v=0")).await.unwrap();
    let listens = async |wanted: usize| {
        while server.rendezvous.feed().listeners() != wanted {
            tokio::task::yield_now().await;
        }
    };
    listens(1).await;
    drop(one);
    let other = server.peer().await.without_push().build();
    other.answer(made.offer_id(), "v=1", None).await.unwrap();
    assert_eq!(made.answer().await.unwrap().sdp, "v=1", "a negotiation keeps it at work");
    drop(made);
    listens(0).await;
}

#[tokio::test]
async fn topics_and_peers_are_found_by_the_other_calls_too() {
    let server = Server::start().await;
    let one = server.peer().await.build();
    let made = one.offer(&NewOffer::new("v=0", ["Ab", "b"])).await.unwrap();
    let id = one.client().credential().unwrap().peer_id.clone();
    let client = &server.client;
    let topics = client.topics().list(&Default::default()).await.unwrap();
    let names: BTreeSet<_> = topics.topics.iter().map(|it| it.topic.as_str()).collect();
    assert_eq!((names, topics.total), (BTreeSet::from(["Ab", "b"]), 2));
    let theirs = client.offers().of_peer(&id).await.unwrap();
    assert_eq!((theirs[0].id.as_str(), theirs[0].peer_id.as_str()), (made.offer_id(), id.as_str()));
    let mut known = nxmesh_client::rendezvous::PeerFilter::new(1024);
    known.insert(&id);
    assert_eq!(client.offers().by_topic("b", Some(&known), None).await.unwrap().offers, []);
    let seen = one.client().offers().heartbeat(made.offer_id()).await.unwrap();
    assert!(seen >= one.client().offers().mine().await.unwrap()[0].created_at);
    one.client().offers().delete(made.offer_id()).await.unwrap();
    assert_eq!(client.offers().by_topic("b", None, None).await.unwrap().offers, []);
}
