//! What a store of rendezvous promises of extremes: large values, foreign scripts, and calls that
//! are given up.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::{future::poll_fn, task::Poll};

use super::given::{
    END, HERE, NOW, Store, added, all_topics, answer, bodies, by_topic, candidates, count,
    in_topics, made, make, offer, ok, publish, read, texts, there, topics,
};
use crate::{
    rendezvous::{
        AddCandidates, Answer, Delivered, Delivery, Expired, Heartbeat, NewOffer, OfferQuery,
        Publish, Realm, TopicCount, TopicOrder, TopicQuery,
    },
    tenancy::Sealed,
};

/// Text that a store may stumble over: NUL, quotes, escapes, and both ends of Unicode.
const ODD: [&str; 6] = [
    "",
    "\0",
    "a\0b",
    "'\"\\%_$1 {} \r\n\t\u{1}\u{7f}",
    "ñandú Ω ﷽ 漢字 e\u{301} \u{202e}rtl 🦀👩‍👩‍👧 \u{ffff}\u{10ffff}",
    r"\u0000 \x00 \\ \\u0000",
];

pub async fn any_text_is_kept_as_it_is(store: &Store) {
    for odd in ODD {
        let other = format!("{odd}x");
        let realm = Realm::Origin(odd.to_owned());
        let new = NewOffer {
            sdp: odd.into(),
            info: Some(odd.to_owned()),
            secret: Some(Sealed::from_bytes(odd.as_bytes().to_vec())),
            ..offer(odd, &[odd, &other])
        };
        let publish = Publish { realm: realm.clone(), ..publish(odd, vec![new.clone()], NOW) };
        make(store, publish.clone()).await;
        make(store, publish).await;
        let answer = Answer {
            realm: realm.clone(),
            sdp: odd.into(),
            matched_topics: Some(vec![odd.to_owned()]),
            ..answer(odd, &other, NOW)
        };
        let add =
            |by: &str| AddCandidates { realm: realm.clone(), ..candidates(odd, by, &[odd], NOW) };
        let query = || OfferQuery {
            realm: realm.clone(),
            not_of: Some(other.clone()),
            ..in_topics(&[odd, &other], NOW)
        };
        let found = ok(store.offer(&realm, odd, NOW).await).unwrap();
        let said = (&found.id, &found.peer, &found.sdp, &found.topics, &found.info, &found.secret);
        let topics_then = texts(&[odd, &other]);
        let expected = (&new.id, &odd.to_owned(), &new.sdp, &topics_then, &new.info, &new.secret);
        assert_eq!(said, expected);
        assert_eq!(by_topic(store, query()).await.offers, std::slice::from_ref(&found));
        for prefix in [odd, other.as_str()] {
            let listed = topics(
                store,
                TopicQuery {
                    realm: realm.clone(),
                    prefix: prefix.to_owned(),
                    ..all_topics(TopicOrder::Name, NOW)
                },
            );
            let listed = listed.await.topics;
            assert!(listed.contains(&count(&other, 1, 1)), "{listed:?}");
        }
        assert_eq!(ok(store.heartbeat(&realm, odd, odd, NOW).await), Heartbeat::Seen);
        added(store, add(odd)).await;
        ok(store.answer(answer).await);
        assert_eq!(added(store, add(&other)).await.as_deref(), Some(odd));
        let reached = ok(store.deliveries(&realm, odd, 0, 9, NOW).await);
        let [Delivery { what: first, .. }, Delivery { what: second, .. }] = &reached[..] else {
            panic!("{reached:?}");
        };
        let given = Delivered::Answer {
            by: other.clone(),
            sdp: odd.into(),
            matched_topics: Some(vec![odd.to_owned()]),
        };
        assert_eq!(*first, given);
        let Delivered::Candidate(candidate) = second else { panic!("{second:?}") };
        assert_eq!((candidate.body.as_str(), &candidate.peer), (odd, &other));
        assert_eq!(bodies(&ok(store.candidates_of(&realm, odd, odd, NOW).await)), [odd]);
        let expired = Expired { realm, id: odd.to_owned(), peer: odd.to_owned() };
        assert_eq!(ok(store.sweep(END, 9).await), [expired]);
    }
}

pub async fn topics_are_ordered_by_their_bytes_whatever_is_in_them(store: &Store) {
    let mut names =
        vec!["a", "a\0", "a\0a", "a\u{1}", "aa", "\0", "B", "é", "\u{E000}", "\u{1F600}"];
    made(store, "ann", "one", &names).await;
    names.sort_unstable();
    for order in [TopicOrder::Name, TopicOrder::MostPeers] {
        let page = topics(store, all_topics(order, NOW)).await;
        let listed: Vec<_> =
            page.topics.into_iter().map(|TopicCount { topic, .. }| topic).collect();
        assert_eq!(listed, names);
    }
}

pub async fn the_largest_offers_are_kept(store: &Store) {
    let largest = "ü".repeat(65_536);
    let topic = |number| format!("{number}{}", "漢".repeat(250));
    let all: Vec<_> = (0..50).map(topic).collect();
    let new = |number| NewOffer {
        sdp: format!("{largest}{number}").into(),
        topics: all.clone(),
        info: Some("ü".repeat(128)),
        ..offer(&format!("{number}"), &[])
    };
    make(store, publish("ann", (0..100).map(new).collect(), NOW)).await;
    let found = there(store, "99", NOW).await;
    assert_eq!((found.sdp.len(), &found.topics), (131_074, &all));
    let counts = ok(store.topic_counts(&HERE, &all, None, NOW).await);
    assert!(counts.iter().all(|it| (it.offers, it.peers) == (100, 1)), "{counts:?}");
    let many: Vec<_> = (0..100).map(|it| format!("\"{it:04}{}\"", "x".repeat(4090))).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for _ in 0..10 {
        added(store, candidates("99", "ann", &many, NOW)).await;
    }
    let given = Answer { sdp: largest.as_str().into(), ..answer("99", "bob", NOW) };
    ok(store.answer(given).await);
    let all = read(store, "99", "bob", 0).await;
    assert_eq!(all.len(), 1000);
    assert!(bodies(&all).chunks(100).all(|it| *it == many[..]));
    assert!(ok(store.delete_offer(&HERE, "99", "ann").await));
}

/// Begins a call, goes on with it `polls` times, and gives it up. Whether it was finished.
async fn give_up_after<T>(polls: usize, call: impl Future<Output = T>) -> bool {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        call.as_mut().poll(context).map(|_| true)
    })
    .await
}

pub async fn a_write_that_is_given_up_is_whole_or_nothing(store: &Store) {
    let topics = texts(&["a", "b"]);
    let mut last = 0;
    for polls in 1..20 {
        let new = |it| offer(&format!("{polls} {it}"), &["a", "b"]);
        let call = store.publish(publish("ann", (0..5).map(new).collect(), NOW));
        let finished = give_up_after(polls, call).await;
        // What was begun may still be going on: a write after it settles it.
        made(store, "ann", &format!("{polls}"), &["c"]).await;
        let counts = ok(store.topic_counts(&HERE, &topics, None, NOW).await);
        assert_eq!(counts[0].offers, counts[1].offers);
        assert_eq!(counts[0].offers % 5, 0, "{counts:?}");
        assert!(!finished || counts[0].offers > last, "it was answered");
        last = counts[0].offers;
        let id = format!("{polls}");
        give_up_after(polls, store.answer(answer(&id, "bob", NOW))).await;
        give_up_after(polls, store.add_candidates(candidates(&id, "ann", &["1", "2"], NOW))).await;
        let some = ok(store.candidates_of(&HERE, &id, "ann", NOW).await).len();
        assert!(some == 0 || some == 2, "{some}");
        ok(store.heartbeat(&HERE, &id, "ann", NOW).await);
        ok(store.answer(answer(&id, "bob", NOW)).await);
    }
    let open = ok(store.topic_counts(&HERE, &texts(&["c"]), None, NOW).await);
    assert_eq!(open, [count("c", 0, 0)]);
}
