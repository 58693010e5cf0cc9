//! What a store of rendezvous promises of candidates, and of whatever reaches a peer.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use super::given::{
    END, HERE, Millis, NOW, Store, added, answered, bodies, candidates, made, ok, read, rise,
};
use crate::rendezvous::{
    AddCandidates, Candidate, CandidatesAdded, Delivered, Delivery, ReadCandidates, Role,
};

/// An offer `one` of ann's that bob has answered. Answers when.
async fn connected(store: &Store) -> Millis {
    made(store, "ann", "one", &["t"]).await;
    answered(store, "one", "bob", NOW).await.answered.unwrap().at
}

pub async fn candidates_are_delivered_to_the_other_side(store: &Store) {
    connected(store).await;
    let to = added(store, candidates("one", "ann", &["1", "2"], NOW + 1)).await;
    assert_eq!(to.as_deref(), Some("bob"));
    let to = added(store, candidates("one", "bob", &["3"], NOW + 1)).await;
    assert_eq!(to.as_deref(), Some("ann"));
    let [first, second] = &read(store, "one", "bob", 0).await[..] else { panic!("two are there") };
    let by_ann = |body: &str, stamp| Candidate {
        peer: "ann".to_owned(),
        role: Role::Offerer,
        body: body.to_owned(),
        stamp,
    };
    assert_eq!(*first, by_ann("1", NOW + 1), "its stamp is the time");
    assert_eq!(*second, by_ann("2", second.stamp));
    let third = &read(store, "one", "ann", 0).await[..];
    assert_eq!(bodies(third), ["3"]);
    assert_eq!((third[0].peer.as_str(), third[0].role), ("bob", Role::Answerer));
}

pub async fn who_answers_an_own_offer_is_delivered_none_of_the_own_candidates(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    added(store, candidates("one", "ann", &["1"], NOW)).await;
    answered(store, "one", "ann", NOW).await;
    let to = added(store, candidates("one", "ann", &["2"], NOW)).await;
    assert_eq!(to, None, "there is no other side");
    let reached = ok(store.deliveries(&HERE, "ann", 0, 9, NOW).await);
    assert!(
        matches!(reached[..], [Delivery { what: Delivered::Answer { .. }, .. }]),
        "{reached:?}"
    );
    assert_eq!(read(store, "one", "ann", 0).await, []);
    let own = ok(store.candidates_of(&HERE, "one", "ann", NOW).await);
    assert_eq!(bodies(&own), ["1", "2"], "though they are there");
}

pub async fn only_who_has_a_part_adds_candidates(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    let add = async |id, by, now| ok(store.add_candidates(candidates(id, by, &["1"], now)).await);
    let nobody = CandidatesAdded::Added { to: None };
    assert_eq!(add("two", "ann", NOW).await, CandidatesAdded::NotFound);
    assert_eq!(add("one", "ann", NOW).await, nobody, "the offerer may before the answer");
    assert_eq!(add("one", "bob", NOW).await, CandidatesAdded::NotAllowed);
    let early = AddCandidates { most_early: Some(1000), ..candidates("one", "bob", &["2"], NOW) };
    assert_eq!(ok(store.add_candidates(early.clone()).await), nobody, "who will answer may");
    answered(store, "one", "bob", NOW).await;
    let to_ann = CandidatesAdded::Added { to: Some("ann".to_owned()) };
    assert_eq!(add("one", "bob", NOW).await, to_ann);
    assert_eq!(add("one", "cem", NOW).await, CandidatesAdded::NotAllowed);
    assert_eq!(add("one", "ann", END).await, CandidatesAdded::NotFound, "it has expired");
    assert_eq!(bodies(&read(store, "one", "ann", 0).await), ["2", "1"]);
}

pub async fn only_who_has_a_part_reads_candidates(store: &Store) {
    connected(store).await;
    let read = async |id, by, now| ok(store.candidates(&HERE, id, by, 0, now).await);
    assert_eq!(read("two", "ann", NOW).await, ReadCandidates::NotFound);
    assert_eq!(read("one", "cem", NOW).await, ReadCandidates::NotAllowed);
    assert_eq!(read("one", "ann", NOW).await, ReadCandidates::Read(Vec::new()));
    assert_eq!(read("one", "bob", NOW).await, ReadCandidates::Read(Vec::new()));
    assert_eq!(read("one", "ann", END).await, ReadCandidates::NotFound);
    assert_eq!(ok(store.candidates_of(&HERE, "two", "ann", NOW).await), []);
    assert_eq!(ok(store.candidates_of(&HERE, "one", "cem", NOW).await), []);
}

pub async fn a_peer_has_no_more_candidates_at_an_offer_than_it_may(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    made(store, "ann", "two", &["t"]).await;
    let add = async |id, by, bodies: &[&str], most| {
        let add = AddCandidates { most, most_early: Some(1000), ..candidates(id, by, bodies, NOW) };
        ok(store.add_candidates(add).await)
    };
    let nobody = CandidatesAdded::Added { to: None };
    assert_eq!(add("one", "ann", &["1", "2", "3"], 2).await, CandidatesAdded::TooMany);
    assert_eq!(add("one", "ann", &["1"], 2).await, nobody, "of too many none was added");
    assert_eq!(add("one", "ann", &["2", "3"], 2).await, CandidatesAdded::TooMany);
    assert_eq!(add("one", "ann", &["2"], 2).await, nobody);
    assert_eq!(add("one", "ann", &["3"], 2).await, CandidatesAdded::TooMany);
    assert_eq!(add("one", "bob", &["4", "5"], 2).await, nobody, "each peer for itself");
    assert_eq!(add("two", "ann", &["6", "7"], 2).await, nobody, "at each offer");
    assert_eq!(add("one", "ann", &[], 2).await, nobody, "none is not too many");
    answered(store, "one", "bob", NOW).await;
    assert_eq!(add("one", "bob", &["8"], 2).await, CandidatesAdded::TooMany);
    let to_ann = CandidatesAdded::Added { to: Some("ann".to_owned()) };
    assert_eq!(add("one", "bob", &["8"], 3).await, to_ann);
    assert_eq!(bodies(&read(store, "one", "bob", 0).await), ["1", "2"]);
    assert_eq!(bodies(&read(store, "one", "ann", 0).await), ["4", "5", "8"]);
}

pub async fn those_who_may_answer_have_no_more_candidates_together_than_they_may(store: &Store) {
    made(store, "ann", "one", &["t"]).await;
    made(store, "ann", "two", &["t"]).await;
    let add = async |id, by, bodies: &[&str]| {
        let add = AddCandidates { most_early: Some(3), ..candidates(id, by, bodies, NOW) };
        ok(store.add_candidates(add).await)
    };
    let nobody = CandidatesAdded::Added { to: None };
    assert_eq!(add("one", "bob", &["1", "2"]).await, nobody);
    assert_eq!(add("one", "cem", &["3", "4"]).await, CandidatesAdded::TooMany);
    assert_eq!(add("one", "cem", &["3"]).await, nobody, "of too many none was added");
    assert_eq!(add("one", "bob", &["4"]).await, CandidatesAdded::TooMany);
    assert_eq!(add("one", "dan", &["4"]).await, CandidatesAdded::TooMany);
    assert_eq!(add("one", "ann", &["5", "6", "7", "8"]).await, nobody, "not so the offerer");
    assert_eq!(add("two", "cem", &["9"]).await, nobody, "at each offer");
    answered(store, "one", "bob", NOW).await;
    let to_ann = CandidatesAdded::Added { to: Some("ann".to_owned()) };
    assert_eq!(
        add("one", "bob", &["4", "5"]).await,
        to_ann,
        "who has answered is not of them either"
    );
    assert_eq!(bodies(&read(store, "one", "ann", 0).await), ["1", "2", "4", "5"]);
}

pub async fn each_delivery_has_a_higher_stamp_than_the_one_before_it(store: &Store) {
    connected(store).await;
    // In one call, in one millisecond, and when the clock was put back.
    let three = ["1", "2", "3"];
    for (body, now) in [("4", NOW), ("5", NOW), ("6", NOW - 5000), ("7", NOW + 100), ("8", NOW)] {
        added(store, candidates("one", "ann", &[&three[..], &[body]].concat(), now)).await;
    }
    made(store, "bob", "two", &["t"]).await;
    answered(store, "two", "cem", NOW).await;
    added(store, candidates("two", "cem", &["9"], NOW)).await;
    let all = read(store, "one", "bob", 0).await;
    assert!(rise(all.iter().map(|it| it.stamp)), "{all:?}");
    assert_eq!(all.len(), 20);
    assert_eq!(all[12].stamp, NOW + 100, "the time, where it is ahead");
    let reached = ok(store.deliveries(&HERE, "bob", 0, 100, NOW).await);
    assert!(rise(reached.iter().map(|it| it.stamp)), "{reached:?}");
    assert_eq!(reached.len(), 22, "one order for all that reaches a peer");
    assert_eq!(reached[21].offer, "two");
}

pub async fn none_is_delivered_below_a_stamp_that_was_seen(store: &Store) {
    connected(store).await;
    added(store, candidates("one", "ann", &["1"], NOW + 500)).await;
    let seen = read(store, "one", "bob", 0).await[0].stamp;
    assert!(ok(store.delete_offer(&HERE, "one", "ann").await));
    while !ok(store.sweep(NOW + 400, 100).await).is_empty() {}
    connected(store).await;
    added(store, candidates("one", "ann", &["2"], NOW)).await;
    assert_eq!(bodies(&read(store, "one", "bob", seen).await), ["2"], "though all else is gone");
}

pub async fn since_is_the_last_stamp_that_is_left_out(store: &Store) {
    let at = connected(store).await;
    added(store, candidates("one", "bob", &["1", "2", "3"], NOW)).await;
    let all = read(store, "one", "ann", 0).await;
    assert_eq!(read(store, "one", "ann", at).await, all);
    assert_eq!(read(store, "one", "ann", Millis::MIN).await, all);
    assert_eq!(read(store, "one", "ann", Millis::MAX).await, []);
    for (position, candidate) in all.iter().enumerate() {
        let rest = read(store, "one", "ann", candidate.stamp).await;
        assert_eq!(rest, all[position + 1..]);
        let rest = read(store, "one", "ann", candidate.stamp - 1).await;
        assert_eq!(rest, all[position..]);
    }
}

pub async fn all_that_reaches_a_peer_is_told_lowest_first_in_pages(store: &Store) {
    for id in ["one", "two"] {
        made(store, "ann", id, &["t"]).await;
        added(store, candidates(id, "ann", &["early"], NOW)).await;
        answered(store, id, "bob", NOW).await;
        added(store, candidates(id, "bob", &["x", "y"], NOW)).await;
    }
    let all = ok(store.deliveries(&HERE, "ann", 0, 100, NOW).await);
    let short = |it: &Delivery| match &it.what {
        Delivered::Answer { by, .. } => format!("{} by {by}", it.offer),
        Delivered::Candidate(candidate) => {
            assert_eq!((candidate.stamp, candidate.role), (it.stamp, Role::Answerer));
            format!("{} {}", it.offer, candidate.body)
        }
    };
    let told: Vec<_> = all.iter().map(short).collect();
    assert_eq!(told, ["one by bob", "one x", "one y", "two by bob", "two x", "two y"]);
    for limit in 0..8 {
        for (position, last) in all.iter().enumerate() {
            let page = ok(store.deliveries(&HERE, "ann", last.stamp, limit, NOW).await);
            let rest = &all[position + 1..];
            assert_eq!(page, rest[..rest.len().min(limit as usize)]);
        }
    }
    let to_bob = ok(store.deliveries(&HERE, "bob", 0, 100, NOW).await);
    let said: Vec<_> = to_bob.iter().map(|it| it.offer.as_str()).collect();
    assert_eq!(said, ["one", "two"], "what bob sent does not reach bob: {to_bob:?}");
    assert_eq!(ok(store.deliveries(&HERE, "cem", 0, 100, NOW).await), []);
    assert!(ok(store.delete_offer(&HERE, "one", "ann").await));
    let told = ok(store.deliveries(&HERE, "ann", 0, 100, NOW).await);
    assert_eq!(told, all[3..], "of live offers only");
    assert_eq!(ok(store.deliveries(&HERE, "ann", 0, 100, END).await), []);
    assert_eq!(ok(store.deliveries(&HERE, "ann", Millis::MAX, 100, NOW).await), []);
}
