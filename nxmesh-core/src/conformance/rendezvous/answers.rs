//! What a store of rendezvous promises of answers.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use tokio::task::JoinSet;

use super::given::{
    END, HERE, NOW, Store, added, all_topics, answer, answered, bodies, by_topic, candidates,
    count, in_topics, made, ok, read, rise, texts, there, topics,
};
use crate::rendezvous::{
    AddCandidates, Answer, AnswerOutcome, Answered, CandidatesAdded, Delivered, Delivery, Offer,
    OfferFilter, ReadCandidates, TopicOrder,
};

pub async fn an_answer_counts_and_is_in_the_offer(store: &Store) {
    made(store, "ann", "one", &["b", "a"]).await;
    let before = there(store, "one", NOW).await;
    let given = Answer {
        matched_topics: Some(texts(&["a"])),
        expires_at: Some(END + 5),
        ..answer("one", "bob", NOW + 3)
    };
    let answered = Answered {
        by: "bob".to_owned(),
        sdp: given.sdp.clone(),
        at: NOW + 3,
        matched_topics: given.matched_topics.clone(),
    };
    let expected = Offer { answered: Some(answered), expires_at: END + 5, ..before };
    let outcome = ok(store.answer(given).await);
    assert_eq!(outcome, AnswerOutcome::Answered(Box::new(expected.clone())));
    assert_eq!(there(store, "one", END + 4).await, expected);
    assert_eq!(ok(store.offer(&HERE, "one", END + 5).await), None);
}

pub async fn an_answer_may_say_nothing_of_topics_and_expiry(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    made(store, "ann", "two", &["a"]).await;
    let offer = answered(store, "one", "bob", NOW).await;
    assert_eq!(offer.expires_at, END, "as it was");
    assert_eq!(offer.answered.unwrap().matched_topics, None);
    let sooner = Answer {
        matched_topics: Some(Vec::new()),
        expires_at: Some(NOW + 9),
        ..answer("two", "bob", NOW)
    };
    ok(store.answer(sooner).await);
    let offer = there(store, "two", NOW + 8).await;
    assert_eq!(offer.answered.unwrap().matched_topics, Some(Vec::new()));
    assert_eq!(ok(store.offer(&HERE, "two", NOW + 9).await), None);
}

pub async fn only_an_open_offer_is_answered(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    let outcome = async |id, by, now| ok(store.answer(answer(id, by, now)).await);
    assert_eq!(outcome("two", "bob", NOW).await, AnswerOutcome::NotFound);
    assert_eq!(outcome("one", "bob", END).await, AnswerOutcome::NotFound, "it has expired");
    made(store, "ann", "three", &["a"]).await;
    let first = answered(store, "three", "bob", NOW).await;
    for by in ["bob", "cem", "ann"] {
        assert_eq!(outcome("three", by, NOW + 1).await, AnswerOutcome::AlreadyAnswered, "{by}");
    }
    assert_eq!(there(store, "three", NOW).await, first, "the first one stays");
    assert_eq!(outcome("three", "bob", END).await, AnswerOutcome::NotFound);
}

pub async fn a_locked_offer_is_not_answered_before_the_lock_ends(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    let outcome = async |now| ok(store.answer(answer("one", "bob", now)).await);
    ok(store.wrong_secret(&HERE, "one", 2, NOW, NOW + 5).await);
    ok(store.wrong_secret(&HERE, "one", 2, NOW, NOW + 5).await);
    let locked = there(store, "one", NOW).await;
    for now in [NOW, NOW + 4] {
        assert_eq!(outcome(now).await, AnswerOutcome::Locked);
    }
    assert_eq!(there(store, "one", NOW).await, locked, "nothing has happened");
    assert!(matches!(outcome(NOW + 5).await, AnswerOutcome::Answered(_)));
    assert_eq!(outcome(NOW).await, AnswerOutcome::AlreadyAnswered, "also while it was locked");
}

pub async fn an_answered_offer_is_found_under_no_topic(store: &Store) {
    made(store, "ann", "one", &["a", "b"]).await;
    made(store, "bob", "two", &["b"]).await;
    answered(store, "one", "bob", NOW).await;
    assert_eq!(by_topic(store, in_topics(&["a"], NOW)).await, Default::default());
    let page = by_topic(store, in_topics(&["a", "b"], NOW)).await;
    assert_eq!((page.offers.len(), page.total), (1, 0));
    let page = topics(store, all_topics(TopicOrder::MostPeers, NOW)).await;
    assert_eq!((page.topics, page.total), (vec![count("b", 1, 1)], 1));
    ok(store.heartbeat(&HERE, "one", "ann", NOW).await);
    ok(store.retag(&HERE, "ann", &texts(&["c"]), NOW).await);
    let counts = ok(store.topic_counts(&HERE, &texts(&["a", "b", "c"]), None, NOW).await);
    assert_eq!(counts, [count("a", 0, 0), count("b", 1, 1), count("c", 0, 0)]);
}

pub async fn of_a_thousand_answers_at_once_one_counts(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    let mut tasks = JoinSet::new();
    for number in 0..1000 {
        let (store, answer) = (store.clone(), answer("one", &format!("peer {number}"), NOW));
        tasks.spawn(async move { (answer.by.clone(), ok(store.answer(answer).await)) });
    }
    let mut won = Vec::new();
    for (by, outcome) in tasks.join_all().await {
        match outcome {
            AnswerOutcome::Answered(offer) => won.push((by, *offer)),
            AnswerOutcome::AlreadyAnswered => {}
            AnswerOutcome::NotFound | AnswerOutcome::Locked => panic!("it is there"),
        }
    }
    let [(by, offer)] = &won[..] else { panic!("{} won", won.len()) };
    assert_eq!(offer.answered.as_ref().map(|it| &it.by), Some(by));
    assert_eq!(there(store, "one", NOW).await, *offer);
    let reached = ok(store.deliveries(&HERE, "ann", 0, 9, NOW).await);
    assert_eq!(reached.len(), 1, "{reached:?}");
}

pub async fn what_came_before_the_answer_is_delivered_after_it_in_order(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    let early = |by, bodies: &[&str]| AddCandidates {
        most_early: Some(1000),
        ..candidates("one", by, bodies, NOW)
    };
    for (by, body) in [("ann", "1"), ("bob", "2"), ("ann", "3"), ("cem", "4"), ("bob", "5")] {
        assert_eq!(added(store, early(by, &[body])).await, None, "nobody is there yet");
    }
    added(store, early("ann", &["7", "6"])).await;
    for (peer, expected) in [("ann", &["1", "3", "7", "6"][..]), ("bob", &["2", "5"])] {
        let waiting = ok(store.candidates_of(&HERE, "one", peer, NOW).await);
        assert_eq!(bodies(&waiting), expected);
        assert!(waiting.iter().all(|it| it.stamp == NOW), "when they came: {waiting:?}");
        assert_eq!(ok(store.deliveries(&HERE, peer, 0, 9, NOW).await), []);
    }
    assert_eq!(read(store, "one", "ann", 0).await, [], "they have not reached anybody");
    let not_allowed = ok(store.candidates(&HERE, "one", "bob", 0, NOW).await);
    assert_eq!(not_allowed, ReadCandidates::NotAllowed, "bob has no part yet");
    let at = answered(store, "one", "bob", NOW).await.answered.unwrap().at;
    let to_ann = read(store, "one", "ann", at).await;
    assert_eq!(bodies(&to_ann), ["2", "5"], "all are above the answer");
    let to_bob = read(store, "one", "bob", at).await;
    assert_eq!(bodies(&to_bob), ["1", "3", "7", "6"], "all are above the answer");
    assert!(rise(to_ann.iter().map(|it| it.stamp)) && rise(to_bob.iter().map(|it| it.stamp)));
    assert_eq!(ok(store.candidates_of(&HERE, "one", "ann", NOW).await), to_bob);
    assert_eq!(ok(store.candidates_of(&HERE, "one", "bob", NOW).await), to_ann);
    let reached = ok(store.deliveries(&HERE, "ann", 0, 9, NOW).await);
    let first = Delivered::Answer {
        by: "bob".to_owned(),
        sdp: "answer of bob to one".into(),
        matched_topics: None,
    };
    assert_eq!(reached[0], Delivery { stamp: at, offer: "one".to_owned(), what: first });
    assert_eq!(reached.len(), 3);
}

pub async fn what_waits_for_the_answer_outlives_a_sweep(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    let early =
        |by| AddCandidates { most_early: Some(1000), ..candidates("one", by, &["early"], NOW) };
    for by in ["bob", "cem"] {
        added(store, early(by)).await;
    }
    ok(store.sweep(END - 1, 100).await);
    // Whoever comes now is not taken for one of them.
    made(store, "dan", "two", &["a"]).await;
    made(store, "eve", "three", &["a"]).await;
    for by in ["bob", "cem"] {
        let waiting = ok(store.candidates_of(&HERE, "one", by, NOW).await);
        assert_eq!((bodies(&waiting), waiting[0].peer.as_str()), (vec!["early"], by));
    }
    for by in ["dan", "eve"] {
        assert_eq!(ok(store.candidates_of(&HERE, "one", by, NOW).await), []);
    }
    answered(store, "one", "bob", NOW).await;
    let to_ann = read(store, "one", "ann", 0).await;
    assert_eq!((bodies(&to_ann), to_ann[0].peer.as_str()), (vec!["early"], "bob"));
}

pub async fn what_others_added_before_the_answer_is_gone(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    let early =
        |by| AddCandidates { most_early: Some(1000), ..candidates("one", by, &["early"], NOW) };
    for by in ["bob", "cem", "dan"] {
        added(store, early(by)).await;
        assert_eq!(ok(store.candidates_of(&HERE, "one", by, NOW).await).len(), 1);
    }
    answered(store, "one", "bob", NOW).await;
    for by in ["cem", "dan"] {
        assert_eq!(ok(store.candidates_of(&HERE, "one", by, NOW).await), []);
        assert_eq!(ok(store.add_candidates(early(by)).await), CandidatesAdded::NotAllowed);
        let none = ok(store.candidates(&HERE, "one", by, 0, NOW).await);
        assert_eq!(none, ReadCandidates::NotAllowed);
        assert_eq!(ok(store.deliveries(&HERE, by, 0, 9, NOW).await), []);
    }
    assert_eq!(bodies(&read(store, "one", "ann", 0).await), ["early"]);
}

pub async fn an_answerer_may_read_on_from_the_answer(store: &Store) {
    // The stamps of the offer's peer run ahead of the clock.
    made(store, "ann", "busy", &["a"]).await;
    answered(store, "busy", "cem", NOW).await;
    let many: Vec<_> = (0..50).map(|it| it.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    added(store, candidates("busy", "cem", &many, NOW)).await;
    made(store, "ann", "one", &["a"]).await;
    let at = answered(store, "one", "bob", NOW).await.answered.unwrap().at;
    assert!(at >= NOW + 51, "each is above the one before it");
    added(store, candidates("one", "ann", &["1"], NOW)).await;
    assert_eq!(bodies(&read(store, "one", "bob", at).await), ["1"], "since when they answered");
}

pub async fn a_peer_may_answer_its_own_offer(store: &Store) {
    made(store, "ann", "one", &["a"]).await;
    added(store, candidates("one", "ann", &["1"], NOW)).await;
    let early = AddCandidates { most_early: Some(1000), ..candidates("one", "bob", &["1"], NOW) };
    added(store, early).await;
    let offer = answered(store, "one", "ann", NOW).await;
    assert_eq!(ok(store.candidates_of(&HERE, "one", "bob", NOW).await), [], "of others");
    assert_eq!(offer.answered.unwrap().by, "ann");
    added(store, candidates("one", "ann", &["2"], NOW)).await;
    let added = ok(store.candidates_of(&HERE, "one", "ann", NOW).await);
    assert_eq!(bodies(&added), ["1", "2"]);
    assert_eq!(read(store, "one", "ann", 0).await, [], "there is no other side");
    let reached = ok(store.deliveries(&HERE, "ann", 0, 9, NOW).await);
    assert!(matches!(reached[0].what, Delivered::Answer { .. }), "{reached:?}");
    for filter in [OfferFilter::Answered, OfferFilter::AnsweredByPeer] {
        assert_eq!(ok(store.offers_of(&HERE, "ann", filter, NOW).await).len(), 1, "{filter:?}");
    }
    assert!(ok(store.delete_offer(&HERE, "one", "ann").await));
    assert_eq!(ok(store.deliveries(&HERE, "ann", 0, 9, NOW).await), []);
}
