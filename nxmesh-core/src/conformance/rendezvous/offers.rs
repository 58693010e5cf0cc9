//! What a store of rendezvous promises of offers.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "the names say it, and they panic to fail"
)]

use super::given::{
    END, HERE, NOW, Store, added, answered, by_topic, candidates, count, ids, in_topics, made,
    make, offer, ok, publish, texts, there,
};
use crate::{
    rendezvous::{
        Heartbeat, NewOffer, Offer, OfferFilter, Publish, PublishOutcome, Published, Realm,
    },
    tenancy::Sealed,
};

fn full(id: &str) -> NewOffer {
    let all: Vec<u8> = (0..=255).collect();
    NewOffer {
        info: Some("about it".to_owned()),
        secret: Some(Sealed::from_bytes(all)),
        ..offer(id, &["b", "a"])
    }
}

pub async fn an_offer_is_read_back_whole(store: &Store) {
    let new = full("one");
    let published = make(store, publish("ann", vec![new.clone()], NOW)).await;
    assert_eq!(published, [Published { created_at: NOW, expires_at: END }]);
    let expected = Offer {
        id: "one".to_owned(),
        peer: "ann".to_owned(),
        sdp: new.sdp,
        topics: texts(&["b", "a"]),
        info: new.info,
        secret: new.secret,
        created_at: NOW,
        last_seen: NOW,
        expires_at: END,
        answered: None,
        wrong_secrets: 0,
        locked_until: 0,
    };
    assert_eq!(there(store, "one", NOW).await, expected);
    assert_eq!(
        ok(store.offers_of(&HERE, "ann", OfferFilter::All, NOW).await),
        std::slice::from_ref(&expected)
    );
    assert_eq!(by_topic(store, in_topics(&["a"], NOW)).await.offers, [expected]);
    assert_eq!(ok(store.offer(&HERE, "two", NOW).await), None);
}

pub async fn offers_made_together_are_all_made_in_the_order_given(store: &Store) {
    let new = ["c", "a", "b"].map(|it| offer(it, &["t"])).into();
    let published = make(store, publish("ann", new, NOW)).await;
    for (id, published) in ["c", "a", "b"].into_iter().zip(&published) {
        let offer = there(store, id, NOW).await;
        let Published { created_at, expires_at } = *published;
        assert_eq!((offer.created_at, offer.expires_at), (created_at, expires_at), "{id}");
    }
    assert_eq!(published.len(), 3);
    let page = by_topic(store, in_topics(&["t"], NOW)).await;
    assert_eq!(ids(&page.offers), ["b", "a", "c"], "the newest first");
}

pub async fn offers_made_together_are_all_made_or_none(store: &Store) {
    made(store, "bob", "taken", &["of bob"]).await;
    let new = ["one", "taken", "two"].map(|it| offer(it, &["t"])).into();
    let outcome = ok(store.publish(publish("ann", new, NOW)).await);
    assert_eq!(outcome, PublishOutcome::Taken("taken".to_owned()));
    assert_eq!(ok(store.offers_of(&HERE, "ann", OfferFilter::All, NOW).await), []);
    assert_eq!(by_topic(store, in_topics(&["t"], NOW)).await, Default::default());
    let counts = ok(store.topic_counts(&HERE, &texts(&["t", "of bob"]), None, NOW).await);
    assert_eq!(counts, [count("t", 0, 0), count("of bob", 1, 1)]);
    assert_eq!(ok(store.count(&HERE).await), 1);
}

pub async fn what_is_taken_is_named(store: &Store) {
    made(store, "ann", "mine", &["a", "b"]).await;
    made(store, "bob", "theirs", &["a", "b"]).await;
    let another_sdp = NewOffer { sdp: "another".into(), ..offer("mine", &["a", "b"]) };
    let others = [
        ("theirs", offer("theirs", &["a", "b"])),
        ("mine", another_sdp),
        ("mine", offer("mine", &["a"])),
        ("mine", offer("mine", &["a", "b", "c"])),
        ("mine", offer("mine", &["a", "c"])),
    ];
    for (id, other) in others {
        let what = format!("{other:?}");
        let outcome = ok(store.publish(publish("ann", vec![other], NOW)).await);
        assert_eq!(outcome, PublishOutcome::Taken(id.to_owned()), "{what}");
    }
    let twice = vec![offer("new", &["a"]), offer("new", &["b"])];
    let outcome = ok(store.publish(publish("ann", twice, NOW)).await);
    assert_eq!(outcome, PublishOutcome::Taken("new".to_owned()), "two that differ, in one call");
    assert_eq!(ok(store.count(&HERE).await), 2);
}

pub async fn publishing_twice_is_harmless(store: &Store) {
    made(store, "ann", "one", &["b", "a"]).await;
    made(store, "ann", "two", &["b"]).await;
    ok(store.wrong_secret(&HERE, "one", 9, NOW, END).await);
    added(store, candidates("one", "ann", &["1"], NOW)).await;
    let before = there(store, "one", NOW).await;
    let again = NewOffer { expires_at: END + 5, topics: texts(&["a", "b"]), ..full("one") };
    let published = make(store, publish("ann", vec![again.clone()], NOW + 7)).await;
    assert_eq!(published, [Published { created_at: NOW, expires_at: END + 5 }]);
    let NewOffer { info, secret, .. } = again;
    let expected = Offer { info, secret, last_seen: NOW + 7, expires_at: END + 5, ..before };
    assert_eq!(there(store, "one", END + 4).await, expected, "all but these stays");
    let page = by_topic(store, in_topics(&["b"], NOW + 7)).await;
    assert_eq!((ids(&page.offers), page.total), (vec!["one", "two"], 2), "it was seen last");
    let counts = ok(store.topic_counts(&HERE, &texts(&["a", "b"]), None, NOW).await);
    assert_eq!(counts, [count("a", 1, 1), count("b", 2, 1)]);
    assert_eq!(ok(store.candidates_of(&HERE, "one", "ann", NOW).await).len(), 1);
    assert_eq!(ok(store.count(&HERE).await), 2);
    let sooner = NewOffer { expires_at: NOW + 9, ..offer("one", &["a", "b"]) };
    make(store, publish("ann", vec![sooner], NOW + 8)).await;
    assert_eq!(ok(store.offer(&HERE, "one", NOW + 9).await), None, "it may end sooner, too");
}

pub async fn publishing_twice_in_one_call_is_harmless(store: &Store) {
    let new = vec![offer("one", &["a"]), offer("two", &["a"]), offer("one", &["a"])];
    let published = make(store, publish("ann", new, NOW)).await;
    assert_eq!(published[0], published[2]);
    assert_eq!(published.len(), 3);
    let counts = ok(store.topic_counts(&HERE, &texts(&["a"]), None, NOW).await);
    assert_eq!(counts, [count("a", 2, 1)]);
    for id in ["one", "three"] {
        let new = [END + 5, END + 9].map(|it| NewOffer { expires_at: it, ..offer(id, &["a"]) });
        let published = make(store, publish("ann", new.into(), NOW)).await;
        assert_eq!(published.iter().map(|it| it.expires_at).collect::<Vec<_>>(), [END + 9; 2]);
        assert_eq!(there(store, id, NOW).await.expires_at, END + 9, "the last one counts");
    }
}

pub async fn publishing_an_answered_offer_again_keeps_its_answer(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    let offer_then = answered(store, "one", "bob", NOW).await;
    let again = NewOffer { expires_at: END + 5, ..offer("one", &["a"]) };
    make(store, publish("ann", vec![again], NOW + 1)).await;
    let offer = there(store, "one", END).await;
    assert_eq!(offer.answered, offer_then.answered);
    assert_eq!(by_topic(store, in_topics(&["a"], NOW)).await, Default::default());
}

pub async fn of_two_offers_of_one_peer_the_later_one_has_the_higher_figure(store: &Store) {
    let new = ["a", "b", "c"].map(|it| offer(it, &["t"])).into();
    let mut all = make(store, publish("ann", new, NOW)).await;
    assert_eq!(all[0].created_at, NOW);
    for (id, now) in [("d", NOW), ("e", NOW + 1), ("f", NOW - 1000), ("g", NOW + 1000)] {
        all.extend(make(store, publish("ann", vec![offer(id, &["t"])], now)).await);
    }
    assert!(all.is_sorted_by(|one, next| one.created_at < next.created_at), "{all:?}");
    assert_eq!(all[6].created_at, NOW + 1000, "no more than it has to be");
    let other = made(store, "bob", "of bob", &["t"]).await;
    assert_eq!(other.created_at, NOW, "each peer has its own");
}

pub async fn an_id_is_free_once_its_offer_has_expired(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    made(store, "ann", "two", &["a"]).await;
    added(store, candidates("one", "ann", &["old"], NOW)).await;
    answered(store, "one", "cem", NOW).await;
    ok(store.wrong_secret(&HERE, "two", 9, NOW, END).await);
    let new = ["one", "two"].map(|it| NewOffer { expires_at: END + 10, ..offer(it, &["b"]) });
    make(store, publish("bob", new.into(), END)).await;
    for id in ["one", "two"] {
        let offer = there(store, id, END).await;
        assert_eq!((offer.peer.as_str(), &offer.topics), ("bob", &texts(&["b"])));
        assert_eq!((offer.answered, offer.wrong_secrets), (None, 0));
    }
    for peer in ["ann", "cem"] {
        assert_eq!(ok(store.candidates_of(&HERE, "one", peer, END).await), []);
        assert_eq!(ok(store.deliveries(&HERE, peer, 0, 9, END).await), []);
        for filter in [OfferFilter::All, OfferFilter::AnsweredByPeer] {
            assert_eq!(ok(store.offers_of(&HERE, peer, filter, END).await), []);
        }
    }
    let counts = ok(store.topic_counts(&HERE, &texts(&["a", "b"]), None, END).await);
    assert_eq!(counts, [count("a", 0, 0), count("b", 2, 1)]);
    assert_eq!(ok(store.count(&HERE).await), 2);
    assert_eq!(ok(store.sweep(END, 9).await), []);
}

pub async fn a_peer_has_no_more_offers_than_its_quota(store: &Store) {
    let limited = |peer: &str, new: &[&str], now| {
        let mut publish = publish(peer, new.iter().map(|it| offer(it, &["t"])).collect(), now);
        publish.quota.of_peer = 3;
        publish
    };
    make(store, limited("ann", &["a", "b"], NOW)).await;
    let outcome = ok(store.publish(limited("ann", &["c", "d"], NOW)).await);
    assert_eq!(outcome, PublishOutcome::TooManyOfPeer);
    assert_eq!(ok(store.count(&HERE).await), 2, "all or none");
    make(store, limited("ann", &["c"], NOW)).await;
    answered(store, "a", "bob", NOW).await;
    let outcome = ok(store.publish(limited("ann", &["d"], NOW)).await);
    assert_eq!(outcome, PublishOutcome::TooManyOfPeer, "answered ones are counted");
    let mut again = limited("ann", &["b", "c"], NOW);
    again.quota.of_peer = 1;
    make(store, again).await;
    make(store, limited("bob", &["e"], NOW)).await;
    let elsewhere = Publish { realm: Realm::Rpc, ..limited("ann", &["a"], NOW) };
    make(store, elsewhere).await;
    assert!(ok(store.delete_offer(&HERE, "c", "ann").await));
    make(store, limited("ann", &["f"], NOW)).await;
    let late = NewOffer { expires_at: END + 9, ..offer("late", &["t"]) };
    make(store, Publish { offers: vec![late], ..limited("ann", &[], END) }).await;
}

pub async fn of_many_publishers_at_once_no_more_are_made_than_the_quota(store: &Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let mut publish = publish("ann", vec![offer(&format!("{number}"), &["t"])], NOW);
        publish.quota.of_peer = 10;
        let store = store.clone();
        tasks.spawn(async move { ok(store.publish(publish).await) });
    }
    let outcomes = tasks.join_all().await;
    let made = outcomes.iter().filter(|it| matches!(it, PublishOutcome::Published(_))).count();
    let refused = outcomes.iter().filter(|it| **it == PublishOutcome::TooManyOfPeer).count();
    assert_eq!((made, refused), (10, 30), "{outcomes:?}");
    assert_eq!(ok(store.count(&HERE).await), 10);
}

pub async fn of_many_peers_at_once_one_gets_an_id(store: &Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let publish = publish(&format!("peer {number}"), vec![offer("one", &["t"])], NOW);
        let store = store.clone();
        tasks.spawn(async move { ok(store.publish(publish).await) });
    }
    let outcomes = tasks.join_all().await;
    let taken = PublishOutcome::Taken("one".to_owned());
    assert_eq!(outcomes.iter().filter(|it| **it == taken).count(), 39, "{outcomes:?}");
    let page = by_topic(store, in_topics(&["t"], NOW)).await;
    assert_eq!((page.offers.len(), page.total), (1, 1));
}

pub async fn publishing_the_same_at_once_is_harmless(store: &Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let publish = publish("ann", vec![offer("one", &["t", "u"]), offer("two", &["u"])], NOW);
        let store = store.clone();
        tasks.spawn(async move { make(&store, publish).await });
    }
    let made = tasks.join_all().await;
    assert!(made.iter().all(|it| *it == made[0]), "{made:?}");
    let counts = ok(store.topic_counts(&HERE, &texts(&["t", "u"]), None, NOW).await);
    assert_eq!(counts, [count("t", 1, 1), count("u", 2, 1)]);
}

pub async fn a_heartbeat_is_noted_and_ends_nothing_later(store: &Store) {
    let before = {
        made(store, "ann", "one", &["t"]).await;
        made(store, "ann", "two", &["t"]).await;
        there(store, "one", NOW).await
    };
    let beat = async |id, by, now| ok(store.heartbeat(&HERE, id, by, now).await);
    assert_eq!(beat("one", "ann", NOW + 5).await, Heartbeat::Seen);
    let expected = Offer { last_seen: NOW + 5, ..before };
    assert_eq!(there(store, "one", NOW).await, expected);
    let page = by_topic(store, in_topics(&["t"], NOW + 5)).await;
    assert_eq!(ids(&page.offers), ["one", "two"]);
    assert_eq!(beat("one", "bob", NOW).await, Heartbeat::NotAllowed);
    assert_eq!(beat("three", "ann", NOW).await, Heartbeat::NotFound);
    answered(store, "two", "bob", NOW).await;
    assert_eq!(beat("two", "ann", NOW + 6).await, Heartbeat::Seen);
    assert_eq!(beat("two", "bob", NOW + 6).await, Heartbeat::NotAllowed);
    assert_eq!(there(store, "two", NOW).await.last_seen, NOW + 6);
    assert_eq!(beat("one", "ann", END).await, Heartbeat::NotFound);
}

pub async fn wrong_secrets_are_counted_until_they_lock_the_offer(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    made(store, "ann", "two", &["t"]).await;
    let state = async |id| {
        let offer = there(store, id, NOW).await;
        (offer.wrong_secrets, offer.locked_until)
    };
    for (tried, expected) in [(1, 0), (2, 0), (0, NOW + 50), (1, NOW + 50)].into_iter().enumerate()
    {
        ok(store.wrong_secret(&HERE, "one", 3, NOW, NOW + 50).await);
        assert_eq!(state("one").await, expected, "after try {}", tried + 1);
    }
    assert_eq!(state("two").await, (0, 0));
    ok(store.wrong_secret(&HERE, "three", 3, NOW, NOW + 50).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let store = store.clone();
        tasks.spawn(async move { ok(store.wrong_secret(&HERE, "two", 100, NOW, END).await) });
    }
    tasks.join_all().await;
    assert_eq!(state("two").await, (40, 0), "none is lost");
}

pub async fn nothing_happens_to_the_secret_of_an_offer_that_is_not_live(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    ok(store.wrong_secret(&HERE, "one", 1, END, END + 50).await);
    // Should the clock have been put back, or another server's be behind.
    if let Some(offer) = ok(store.offer(&HERE, "one", NOW).await) {
        assert_eq!((offer.wrong_secrets, offer.locked_until), (0, 0));
    }
}

pub async fn an_offer_is_deleted_by_its_peer_with_its_candidates(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    added(store, candidates("one", "ann", &["1", "2"], NOW)).await;
    answered(store, "one", "bob", NOW).await;
    added(store, candidates("one", "bob", &["3"], NOW)).await;
    for by in ["bob", "cem", "", "ANN"] {
        assert!(!ok(store.delete_offer(&HERE, "one", by).await), "{by}");
    }
    assert!(!ok(store.delete_offer(&HERE, "two", "ann").await));
    assert!(ok(store.delete_offer(&HERE, "one", "ann").await));
    assert!(!ok(store.delete_offer(&HERE, "one", "ann").await));
    for peer in ["ann", "bob"] {
        assert_eq!(ok(store.deliveries(&HERE, peer, 0, 9, NOW).await), []);
        assert_eq!(ok(store.candidates_of(&HERE, "one", peer, NOW).await), []);
    }
    assert_eq!(ok(store.count(&HERE).await), 0);
    made(store, "ann", "one", &["t"]).await;
    assert_eq!(there(store, "one", NOW).await.answered, None);
    assert_eq!(ok(store.candidates_of(&HERE, "one", "ann", NOW).await), [], "it is another one");
    made(store, "ann", "open", &["u"]).await;
    assert!(ok(store.delete_offer(&HERE, "open", "ann").await));
    assert_eq!(by_topic(store, in_topics(&["u"], NOW)).await, Default::default());
}

pub async fn an_offer_is_deleted_live_or_not(store: &Store) {
    let short = NewOffer { expires_at: NOW, ..offer("one", &["t"]) };
    make(store, publish("ann", vec![short], NOW - 1)).await;
    assert!(ok(store.delete_offer(&HERE, "one", "ann").await));
    assert_eq!(ok(store.sweep(NOW, 9).await), [], "it is not told of as expired");
}

pub async fn offers_of_a_peer_are_listed_the_last_seen_first_then_the_newest(store: &Store) {
    let new = ["a", "b", "c", "d"].map(|it| offer(it, &["t"])).into();
    make(store, publish("ann", new, NOW)).await;
    made(store, "bob", "of bob", &["t"]).await;
    ok(store.heartbeat(&HERE, "b", "ann", NOW + 9).await);
    let listed = async |peer, filter| {
        let offers = ok(store.offers_of(&HERE, peer, filter, NOW + 9).await);
        offers.into_iter().map(|it| it.id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed("ann", OfferFilter::All).await, "b d c a");
    for id in ["d", "b", "of bob"] {
        answered(store, id, "ann", NOW + 10).await;
    }
    answered(store, "c", "bob", NOW + 11).await;
    assert_eq!(listed("ann", OfferFilter::All).await, "b d c a");
    assert_eq!(listed("ann", OfferFilter::Open).await, "a");
    assert_eq!(listed("ann", OfferFilter::Answered).await, "c b d", "the last answered first");
    assert_eq!(listed("bob", OfferFilter::AnsweredByPeer).await, "c");
    assert_eq!(listed("bob", OfferFilter::Open).await, "");
    assert_eq!(listed("nobody", OfferFilter::All).await, "");
    let by_ann = ok(store.offers_of(&HERE, "ann", OfferFilter::AnsweredByPeer, NOW + 9).await);
    let mut by_ann = ids(&by_ann);
    by_ann.sort_unstable();
    assert_eq!(by_ann, ["b", "d", "of bob"]);
}

pub async fn open_offers_are_put_under_other_topics(store: &Store) {
    let new = ["a", "b", "c"].map(|it| offer(it, &["old", "both"])).into();
    make(store, publish("ann", new, NOW)).await;
    made(store, "bob", "d", &["old"]).await;
    let gone = NewOffer { expires_at: NOW + 1, ..offer("gone", &["old"]) };
    make(store, publish("ann", vec![gone], NOW)).await;
    answered(store, "c", "bob", NOW).await;
    let before = there(store, "a", NOW + 1).await;
    let tags = texts(&["new", "both"]);
    assert_eq!(ok(store.retag(&HERE, "ann", &tags, NOW + 1).await), 2);
    assert_eq!(ok(store.retag(&HERE, "nobody", &tags, NOW + 1).await), 0);
    assert_eq!(there(store, "a", NOW + 1).await, Offer { topics: tags.clone(), ..before });
    assert_eq!(there(store, "c", NOW + 1).await.topics, texts(&["old", "both"]), "it is answered");
    let asked = texts(&["old", "new", "both"]);
    let counts = ok(store.topic_counts(&HERE, &asked, None, NOW + 1).await);
    assert_eq!(counts, [count("old", 1, 1), count("new", 2, 1), count("both", 2, 1)]);
    let page = by_topic(store, in_topics(&["new"], NOW + 1)).await;
    assert_eq!(ids(&page.offers), ["b", "a"]);
    make(store, publish("ann", vec![offer("a", &["both", "new"])], NOW + 1)).await;
}

pub async fn there_are_no_more_offers_than_the_store_may_have(store: &Store) {
    let mut number = 0;
    let mut next = |now| {
        number += 1;
        let new = NewOffer { expires_at: now + 60_000, ..offer(&format!("{number}"), &["t"]) };
        let mut publish = publish(&format!("peer {number}"), vec![new], now);
        publish.quota.of_all = 5;
        publish
    };
    // The count may be that of a second ago, by the clock of the caller or by the store's own.
    let begin = std::time::Instant::now();
    let mut made = 0;
    loop {
        let outcome = ok(store.publish(next(NOW + made * 2000)).await);
        if outcome == PublishOutcome::Full {
            break;
        }
        assert!(matches!(outcome, PublishOutcome::Published(_)), "{outcome:?}");
        made += 1;
        assert!(begin.elapsed() < super::PATIENCE, "{made} were made");
        if made > 5 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    assert!(made >= 5, "it is full with {made}");
    let mut again = publish("peer 1", vec![offer("1", &["t"])], NOW);
    again.quota.of_all = 5;
    make(store, again).await;
    let later = NOW + made * 2000 + 120_000;
    while !ok(store.sweep(later, 100).await).is_empty() {}
    while ok(store.publish(next(later)).await) == PublishOutcome::Full {
        assert!(begin.elapsed() < super::PATIENCE, "it stays full");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
