//! What tests of a store of rendezvous begin with.

use std::sync::Arc;

use crate::{
    Result,
    rendezvous::{
        AddCandidates, Answer, AnswerOutcome, Candidate, CandidatesAdded, NewOffer, Offer,
        OfferPage, OfferQuery, Publish, PublishOutcome, Published, Quota, ReadCandidates, Realm,
        RendezvousStore, TopicCount, TopicOrder, TopicPage, TopicQuery,
    },
};

pub use crate::rendezvous::Millis;

/// A store under test.
pub type Store = Arc<dyn RendezvousStore>;

/// Where most tests are.
pub const HERE: Realm = Realm::Offers;
/// When tests begin.
pub const NOW: Millis = 1_772_000_000_000;
/// When an [`offer`] expires.
pub const END: Millis = NOW + 60_000;
/// As many as there may be.
pub const NO_QUOTA: Quota = Quota { of_peer: u32::MAX, of_all: i64::MAX as u64 };

/// What is there, or the test fails.
///
/// # Panics
/// When the store fails.
#[track_caller]
pub fn ok<T>(answer: Result<T>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("the store fails: {:?}: {error}", error.kind()),
    }
}

/// Texts of one's own.
#[must_use]
pub fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|it| (*it).to_owned()).collect()
}

/// An offer to be made, until [`END`].
#[must_use]
pub fn offer(id: &str, topics: &[&str]) -> NewOffer {
    NewOffer {
        id: id.to_owned(),
        sdp: format!("offer {id}").into(),
        topics: texts(topics),
        info: None,
        secret: None,
        expires_at: END,
    }
}

/// Offers of a peer, to be made together.
#[must_use]
pub fn publish(peer: &str, offers: Vec<NewOffer>, now: Millis) -> Publish {
    Publish { realm: HERE, peer: peer.to_owned(), offers, now, quota: NO_QUOTA }
}

/// An answer to be given.
#[must_use]
pub fn answer(id: &str, by: &str, now: Millis) -> Answer {
    Answer {
        realm: HERE,
        id: id.to_owned(),
        by: by.to_owned(),
        sdp: format!("answer of {by} to {id}").into(),
        matched_topics: None,
        expires_at: None,
        now,
    }
}

/// Candidates to be added.
#[must_use]
pub fn candidates(id: &str, by: &str, bodies: &[&str], now: Millis) -> AddCandidates {
    AddCandidates {
        realm: HERE,
        id: id.to_owned(),
        by: by.to_owned(),
        bodies: texts(bodies),
        most_early: None,
        most: 1000,
        now,
    }
}

/// The first offers of some topics.
#[must_use]
pub fn in_topics(topics: &[&str], now: Millis) -> OfferQuery {
    OfferQuery {
        realm: HERE,
        topics: texts(topics),
        not_of: None,
        excluded: None,
        offset: 0,
        limit: 1000,
        now,
    }
}

/// The first topics.
#[must_use]
pub fn all_topics(order: TopicOrder, now: Millis) -> TopicQuery {
    TopicQuery { realm: HERE, prefix: String::new(), order, offset: 0, limit: 1000, now }
}

/// Makes offers.
///
/// # Panics
/// When they are refused.
pub async fn make(store: &Store, publish: Publish) -> Vec<Published> {
    let outcome = ok(store.publish(publish).await);
    let PublishOutcome::Published(published) = outcome else {
        panic!("they are refused: {outcome:?}");
    };
    published
}

/// Makes an [`offer`] at [`NOW`].
///
/// # Panics
/// When it is refused.
pub async fn made(store: &Store, peer: &str, id: &str, topics: &[&str]) -> Published {
    make(store, publish(peer, vec![offer(id, topics)], NOW)).await[0]
}

/// Answers an offer.
///
/// # Panics
/// When the answer is refused.
pub async fn answered(store: &Store, id: &str, by: &str, now: Millis) -> Offer {
    let outcome = ok(store.answer(answer(id, by, now)).await);
    let AnswerOutcome::Answered(offer) = outcome else {
        panic!("the answer is refused: {outcome:?}");
    };
    *offer
}

/// Adds candidates, and says to whom they went.
///
/// # Panics
/// When they are refused.
pub async fn added(store: &Store, add: AddCandidates) -> Option<String> {
    let outcome = ok(store.add_candidates(add).await);
    let CandidatesAdded::Added { to } = outcome else {
        panic!("the candidates are refused: {outcome:?}");
    };
    to
}

/// The candidates of the other side.
///
/// # Panics
/// When the reader has no part in the offer.
pub async fn read(store: &Store, id: &str, by: &str, since: Millis) -> Vec<Candidate> {
    let outcome = ok(store.candidates(&HERE, id, by, since, NOW).await);
    let ReadCandidates::Read(candidates) = outcome else {
        panic!("{by} may not read those of {id}: {outcome:?}");
    };
    candidates
}

/// A live offer.
///
/// # Panics
/// When there is none.
pub async fn there(store: &Store, id: &str, now: Millis) -> Offer {
    let found = ok(store.offer(&HERE, id, now).await);
    found.unwrap_or_else(|| panic!("there is no offer {id}"))
}

/// The ids of offers, as they are listed.
#[must_use]
pub fn ids(offers: &[Offer]) -> Vec<&str> {
    offers.iter().map(|it| it.id.as_str()).collect()
}

/// What candidates say, as they are listed.
#[must_use]
pub fn bodies(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|it| it.body.as_str()).collect()
}

/// A page of offers.
pub async fn by_topic(store: &Store, query: OfferQuery) -> OfferPage {
    ok(store.offers_by_topic(query).await)
}

/// A page of topics.
pub async fn topics(store: &Store, query: TopicQuery) -> TopicPage {
    ok(store.topics(query).await)
}

/// A count as it is told.
#[must_use]
pub fn count(topic: &str, offers: u64, peers: u64) -> TopicCount {
    TopicCount { topic: topic.to_owned(), offers, peers }
}

/// Whether each is above the one before it.
#[must_use]
pub fn rise(stamps: impl IntoIterator<Item = Millis>) -> bool {
    stamps.into_iter().is_sorted_by(|one, next| one < next)
}
