//! What a store of rendezvous promises of the end of things, and of realms.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::slice::from_ref;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::given::{
    END, HERE, Millis, NOW, Store, added, all_topics, answer, answered, by_topic, candidates,
    count, in_topics, made, make, offer, ok, publish, texts, there, topics,
};
use crate::rendezvous::{
    AddCandidates, Answer, AnswerOutcome, CandidatesAdded, Expired, Heartbeat, NewOffer, Nonce,
    OfferFilter, OfferQuery, PublicKey, Publish, ReadCandidates, Realm, TopicOrder, TopicQuery,
};

const FILTERS: [OfferFilter; 4] =
    [OfferFilter::All, OfferFilter::Open, OfferFilter::Answered, OfferFilter::AnsweredByPeer];

/// Nothing at all is told of `open` of ann, nor of `done` of ann, which bob answered.
async fn nothing_is_told(store: &Store, now: Millis) {
    for id in ["open", "done"] {
        assert_eq!(ok(store.offer(&HERE, id, now).await), None);
        assert_eq!(ok(store.answer(answer(id, "cem", now)).await), AnswerOutcome::NotFound);
        let beat = ok(store.heartbeat(&HERE, id, "ann", now).await);
        assert_eq!(beat, Heartbeat::NotFound);
        for by in ["ann", "bob", "cem"] {
            let early = AddCandidates { most_early: Some(1000), ..candidates(id, by, &["1"], now) };
            assert_eq!(ok(store.add_candidates(early).await), CandidatesAdded::NotFound);
            let read = ok(store.candidates(&HERE, id, by, 0, now).await);
            assert_eq!(read, ReadCandidates::NotFound);
            assert_eq!(ok(store.candidates_of(&HERE, id, by, now).await), []);
        }
    }
    for peer in ["ann", "bob"] {
        assert_eq!(ok(store.deliveries(&HERE, peer, 0, 9, now).await), []);
        for filter in FILTERS {
            assert_eq!(ok(store.offers_of(&HERE, peer, filter, now).await), []);
        }
    }
    assert_eq!(ok(store.retag(&HERE, "ann", &texts(&["u"]), now).await), 0);
    assert_eq!(by_topic(store, in_topics(&["t", "u"], now)).await, Default::default());
    for order in [TopicOrder::MostPeers, TopicOrder::Name] {
        for prefix in ["", "t"] {
            let query = TopicQuery { prefix: prefix.to_owned(), ..all_topics(order, now) };
            assert_eq!(topics(store, query).await, Default::default());
        }
    }
    let counts = ok(store.topic_counts(&HERE, &texts(&["t"]), None, now).await);
    assert_eq!(counts, [count("t", 0, 0)]);
}

async fn open_and_done(store: &Store) {
    for id in ["open", "done"] {
        made(store, "ann", id, &["t"]).await;
        added(store, candidates(id, "ann", &["1"], NOW)).await;
    }
    answered(store, "done", "bob", NOW).await;
    added(store, candidates("done", "bob", &["2"], NOW)).await;
}

pub async fn an_offer_is_live_until_its_expiry_is_reached(store: &Store) {
    open_and_done(store).await;
    let last = END - 1;
    assert_eq!(there(store, "open", last).await.expires_at, END);
    assert_eq!(ok(store.offers_of(&HERE, "ann", OfferFilter::All, last).await).len(), 2);
    assert_eq!(by_topic(store, in_topics(&["t"], last)).await.total, 1);
    assert_eq!(topics(store, all_topics(TopicOrder::Name, last)).await.total, 1);
    assert_eq!(ok(store.deliveries(&HERE, "ann", 0, 9, last).await).len(), 2);
    nothing_is_told(store, END).await;
}

pub async fn what_is_not_live_is_not_told_of_once_it_was_swept(store: &Store) {
    open_and_done(store).await;
    let mut swept = ok(store.sweep(END, 9).await);
    swept.sort_by(|one, other| one.id.cmp(&other.id));
    let expired = |id: &str| Expired { realm: HERE, id: id.to_owned(), peer: "ann".to_owned() };
    assert_eq!(swept, [expired("done"), expired("open")]);
    assert_eq!(ok(store.count(&HERE).await), 0);
    nothing_is_told(store, END).await;
    assert_eq!(ok(store.sweep(END, 9).await), [], "each is told of once");
    assert!(!ok(store.delete_offer(&HERE, "open", "ann").await));
}

pub async fn what_expired_first_is_swept_first_and_so_many_at_the_most(store: &Store) {
    let ends = [5, 1, 4, 2, 3, 60_000];
    for (peer, end) in ["ann", "bob", "ann", "cem", "bob", "ann"].into_iter().zip(ends) {
        let new = NewOffer { expires_at: NOW + end, ..offer(&format!("{end}"), &["t"]) };
        let realm = if end % 2 == 0 { Realm::Rpc } else { HERE };
        make(store, Publish { realm, ..publish(peer, vec![new], NOW) }).await;
    }
    let swept = async |now, most| {
        let swept = ok(store.sweep(now, most).await);
        swept.into_iter().map(|it| it.id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(swept(NOW, 9).await, "", "none has expired");
    assert_eq!(swept(NOW + 5, 0).await, "");
    assert_eq!(swept(NOW + 5, 2).await, "1 2");
    assert_eq!(ok(store.count(&HERE).await) + ok(store.count(&Realm::Rpc).await), 4);
    assert_eq!(swept(NOW + 4, 9).await, "3 4");
    assert_eq!(swept(NOW + 5, 9).await, "5");
    assert_eq!(swept(NOW + 5, 9).await, "");
    assert_eq!(ok(store.count(&Realm::Rpc).await), 1, "one is live");
}

pub async fn of_many_sweepers_at_once_one_tells_of_an_offer(store: &Store) {
    let all = (0..200).map(|it| offer(&format!("{it}"), &["t"])).collect();
    make(store, publish("ann", all, NOW)).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut swept = Vec::new();
            while ok(store.count(&HERE).await) > 0 {
                swept.extend(ok(store.sweep(END, 7).await));
            }
            swept
        });
    }
    let mut swept: Vec<_> = tasks.join_all().await.into_iter().flatten().map(|it| it.id).collect();
    swept.sort_unstable();
    let mut all: Vec<_> = (0..200).map(|it| it.to_string()).collect();
    all.sort_unstable();
    assert_eq!(swept, all);
}

pub async fn counts_are_right_while_what_expired_waits_to_be_swept(store: &Store) {
    for number in 0..300 {
        let new = NewOffer { expires_at: NOW + number, ..offer(&format!("{number}"), &["t"]) };
        make(store, publish(&format!("peer {}", number % 3), vec![new], NOW - 1)).await;
    }
    for now in [0, 1, 2, 150, 297, 298, 299] {
        let live = 299 - now as u64;
        let peers = live.min(3);
        let counts = ok(store.topic_counts(&HERE, &texts(&["t"]), None, NOW + now).await);
        assert_eq!(counts, [count("t", live, peers)], "{now}");
        let query = OfferQuery { limit: 2, ..in_topics(&["t"], NOW + now) };
        let page = by_topic(store, query).await;
        assert_eq!((page.total, page.offers.len() as u64), (live, live.min(2)), "{now}");
        let page = topics(store, all_topics(TopicOrder::MostPeers, NOW + now)).await;
        let expected = if live == 0 { Vec::new() } else { vec![count("t", live, peers)] };
        assert_eq!(page.topics, expected, "{now}");
        let of_peer = ok(store.offers_of(&HERE, "peer 0", OfferFilter::Open, NOW + now).await);
        assert_eq!(of_peer.len() as u64, live / 3, "{now}");
    }
}

pub async fn an_expiry_that_moved_counts(store: &Store) {
    for id in ["one", "two"] {
        made(store, "ann", id, &["t"]).await;
    }
    let later = NewOffer { expires_at: END + 50, ..offer("one", &["t"]) };
    make(store, publish("ann", vec![later], NOW)).await;
    ok(store.answer(Answer { expires_at: Some(NOW + 30), ..answer("two", "bob", NOW) }).await);
    let swept = ok(store.sweep(NOW + 30, 9).await);
    assert_eq!(swept.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(ok(store.sweep(END, 9).await), []);
    assert_eq!(by_topic(store, in_topics(&["t"], END)).await.total, 1);
    assert_eq!(ok(store.sweep(END + 50, 9).await).len(), 1);
}

pub async fn what_never_ends_is_kept(store: &Store) {
    let new = NewOffer { expires_at: Millis::MAX, ..offer("one", &["t"]) };
    make(store, publish("ann", vec![new], NOW)).await;
    let later = NOW * 100;
    assert_eq!(ok(store.sweep(later, u32::MAX).await), []);
    assert_eq!(by_topic(store, in_topics(&["t"], later)).await.total, 1);
    answered(store, "one", "bob", later).await;
    assert_eq!(ok(store.deliveries(&HERE, "ann", NOW, u32::MAX, later).await).len(), 1);
    assert_eq!(ok(store.sweep(Millis::MAX, u32::MAX).await).len(), 1);
}

/// A nonce of key `key`, which it keeps for a minute.
fn nonce(key: char, number: u128, now: Millis) -> Nonce {
    let key = PublicKey::parse(key.to_string().repeat(64)).unwrap();
    Nonce { key, nonce: Uuid::from_u128(number), expires_at: now + 60_000 }
}

pub async fn a_nonce_is_used_once_by_a_key(store: &Store) {
    let nonces = [nonce('a', 1, NOW), nonce('b', 1, NOW), nonce('a', 2, NOW), nonce('a', 1, NOW)];
    let used = ok(store.use_nonces(&nonces, NOW).await);
    assert_eq!(used, [true, true, true, false], "not twice in one call");
    let nonces = [nonce('a', 3, NOW), nonce('a', 2, NOW + 5), nonce('b', 1, NOW)];
    let used = ok(store.use_nonces(&nonces, NOW + 5).await);
    assert_eq!(used, [true, false, false], "nor in an earlier one");
    assert_eq!(ok(store.use_nonces(&[], NOW).await), [false; 0]);
}

pub async fn a_nonce_is_kept_until_it_expires(store: &Store) {
    let first = nonce('a', 1, NOW);
    let other = nonce('a', 2, NOW + 1);
    ok(store.use_nonces(&[first.clone(), other.clone()], NOW).await);
    let later = Nonce { expires_at: END + 60_000, ..first.clone() };
    assert_eq!(ok(store.use_nonces(from_ref(&later), END - 1).await), [false]);
    ok(store.sweep(END - 1, 9).await);
    assert_eq!(ok(store.use_nonces(from_ref(&later), END - 1).await), [false], "it was not swept");
    ok(store.sweep(END, 1).await);
    assert_eq!(ok(store.use_nonces(from_ref(&later), END).await), [true], "it is forgotten");
    ok(store.sweep(END + 1, 9).await);
    assert_eq!(ok(store.use_nonces(&[later], END + 2).await), [false], "it was used anew");
}

pub async fn of_many_uses_of_a_nonce_at_once_one_counts(store: &Store) {
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let store = store.clone();
        // In different orders, too.
        let mut nonces = [1, 2, 3].map(|it| nonce('a', it, NOW));
        nonces.rotate_left(number % 3);
        tasks.spawn(async move {
            let used = ok(store.use_nonces(&nonces, NOW).await);
            nonces.map(|it| it.nonce).into_iter().zip(used).filter(|(_, used)| *used).collect()
        });
    }
    let used: Vec<Vec<(Uuid, bool)>> = tasks.join_all().await;
    let mut used: Vec<_> = used.into_iter().flatten().map(|(nonce, _)| nonce.as_u128()).collect();
    used.sort_unstable();
    assert_eq!(used, [1, 2, 3]);
}

pub async fn realms_are_kept_apart(store: &Store) {
    let realms = [
        Realm::Offers,
        Realm::Rpc,
        Realm::Origin("https://a.example".to_owned()),
        Realm::Origin("https://A.example".to_owned()),
        Realm::Origin("rpc".to_owned()),
        Realm::Origin(String::new()),
    ];
    for realm in &realms {
        let new = NewOffer { sdp: realm.to_text().into(), ..offer("one", &["t"]) };
        let publish = Publish { realm: realm.clone(), ..publish("ann", vec![new], NOW) };
        assert_eq!(make(store, publish).await[0].created_at, NOW);
        let add = AddCandidates { realm: realm.clone(), ..candidates("one", "ann", &["1"], NOW) };
        added(store, add).await;
    }
    let answer = Answer { realm: realms[1].clone(), ..answer("one", "bob", NOW) };
    assert!(matches!(ok(store.answer(answer).await), AnswerOutcome::Answered(_)));
    for realm in &realms {
        let is_answered = *realm == realms[1];
        let open = u64::from(!is_answered);
        let offer = ok(store.offer(realm, "one", NOW).await).unwrap();
        assert_eq!((&*offer.sdp, offer.answered.is_some()), (&*realm.to_text(), is_answered));
        let filter = if is_answered { OfferFilter::Answered } else { OfferFilter::Open };
        assert_eq!(ok(store.offers_of(realm, "ann", filter, NOW).await), from_ref(&offer));
        let by_bob = ok(store.offers_of(realm, "bob", OfferFilter::AnsweredByPeer, NOW).await);
        assert_eq!(by_bob.len(), usize::from(is_answered));
        let query = OfferQuery { realm: realm.clone(), ..in_topics(&["t"], NOW) };
        let page = by_topic(store, query).await;
        assert_eq!((page.total, page.offers.len() as u64), (open, open));
        for order in [TopicOrder::MostPeers, TopicOrder::Name] {
            let query = TopicQuery { realm: realm.clone(), ..all_topics(order, NOW) };
            assert_eq!(topics(store, query).await.total, open);
        }
        let counts = ok(store.topic_counts(realm, &texts(&["t"]), None, NOW).await);
        assert_eq!(counts, [count("t", open, open)]);
        assert_eq!(ok(store.candidates_of(realm, "one", "ann", NOW).await).len(), 1);
        let reached = ok(store.deliveries(realm, "bob", 0, 9, NOW).await);
        assert_eq!(reached.len(), usize::from(is_answered));
        assert_eq!(ok(store.count(realm).await), 1);
    }
    assert_eq!(ok(store.retag(&realms[2], "ann", &texts(&["u"]), NOW).await), 1);
    let beat = ok(store.heartbeat(&realms[4], "one", "ann", NOW + 1).await);
    assert_eq!(beat, Heartbeat::Seen);
    ok(store.wrong_secret(&realms[5], "one", 1, NOW, END).await);
    assert!(ok(store.delete_offer(&realms[3], "one", "ann").await));
    for (at, realm) in realms.iter().enumerate() {
        let found = ok(store.offer(realm, "one", NOW).await);
        let Some(offer) = found else {
            assert_eq!(at, 3);
            continue;
        };
        let expected = (at == 2, at == 4, at == 5);
        let topic = offer.topics == ["u"];
        assert_eq!((topic, offer.last_seen > NOW, offer.locked_until > 0), expected, "{at}");
    }
    let swept = ok(store.sweep(END, 9).await);
    assert_eq!(swept.len(), 5);
    assert!(realms.iter().enumerate().all(|(at, realm)| {
        swept.iter().any(|it| it.realm == *realm && it.id == "one") == (at != 3)
    }));
}
