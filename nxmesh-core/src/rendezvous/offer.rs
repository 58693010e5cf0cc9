use std::sync::Arc;

use super::{Millis, Realm};
use crate::tenancy::Sealed;

/// An offer that is there: a session description that one other peer may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name in the realm.
    pub id: String,
    /// Whose it is.
    pub peer: String,
    /// The session description.
    pub sdp: Arc<str>,
    /// Under which topics it is found, each once, in the order given.
    pub topics: Vec<String>,
    /// What everybody may read about it.
    pub info: Option<String>,
    /// What an answer needs to know, encrypted.
    pub secret: Option<Sealed>,
    /// When it was made; of two offers of one peer the later one has the higher figure.
    pub created_at: Millis,
    /// When its peer was last heard of.
    pub last_seen: Millis,
    /// From then on it is gone.
    pub expires_at: Millis,
    /// Who answered it, if anybody has.
    pub answered: Option<Answered>,
    /// How many wrong secrets were tried since the last right one, or since the lock ended.
    pub wrong_secrets: u32,
    /// Until then no secret is right.
    pub locked_until: Millis,
}

/// The answer of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Who answered.
    pub by: String,
    /// Their session description.
    pub sdp: Arc<str>,
    /// When: a stamp of the offer's peer, see [`Delivery::stamp`](super::Delivery::stamp).
    pub at: Millis,
    /// For which topics, if the answerer said so.
    pub matched_topics: Option<Vec<String>>,
}

/// Offers that one peer makes together: all of them, or none.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where.
    pub realm: Realm,
    /// Whose they are.
    pub peer: String,
    /// What is offered.
    pub offers: Vec<NewOffer>,
    /// What the caller's clock shows.
    pub now: Millis,
    /// How many offers there may be.
    pub quota: Quota,
}

/// An offer that is to be made.
#[derive(Debug, Clone)]
pub struct NewOffer {
    /// Its name in the realm.
    pub id: String,
    /// The session description.
    pub sdp: Arc<str>,
    /// Under which topics it is found: at least one, each once.
    pub topics: Vec<String>,
    /// What everybody may read about it.
    pub info: Option<String>,
    /// What an answer needs to know, encrypted.
    pub secret: Option<Sealed>,
    /// From then on it is gone.
    pub expires_at: Millis,
}

/// How many offers there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Of one peer, in one realm, answered ones included.
    pub of_peer: u32,
    /// In the whole store, give or take those of a second.
    pub of_all: u64,
}

/// What became of [`Publish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// All are there, in the order given.
    Published(Vec<Published>),
    /// The id of this one belongs to an offer of somebody else, or to another one of the peer.
    Taken(String),
    /// The peer would have more than [`Quota::of_peer`].
    TooManyOfPeer,
    /// There would be more than [`Quota::of_all`].
    Full,
}

/// What an offer got when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// When it was made: for one that was there before, when that was.
    pub created_at: Millis,
    /// From then on it is gone.
    pub expires_at: Millis,
}

/// An answer that is to be given.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Where.
    pub realm: Realm,
    /// Which offer.
    pub id: String,
    /// By whom.
    pub by: String,
    /// Their session description.
    pub sdp: Arc<str>,
    /// For which topics, if the answerer said so.
    pub matched_topics: Option<Vec<String>>,
    /// From when on the offer is gone now; as it was, if not said.
    pub expires_at: Option<Millis>,
    /// What the caller's clock shows.
    pub now: Millis,
}

/// What became of [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerOutcome {
    /// It counts, and is in the offer now.
    Answered(Box<Offer>),
    /// There is no such offer, or it has expired.
    NotFound,
    /// Somebody was faster, whoever it was.
    AlreadyAnswered,
    /// Nobody has, but wrong secrets have [locked](Offer::locked_until) it.
    Locked,
}

/// What became of a heartbeat, or of anything else that only its peer may do to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// Noted.
    Seen,
    /// There is no such offer, or it has expired.
    NotFound,
    /// It is somebody else's.
    NotAllowed,
}

/// Which offers of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferFilter {
    /// All that have not expired.
    All,
    /// Those that nobody has answered.
    Open,
    /// Those that somebody has answered.
    Answered,
    /// Those that this peer has answered, whosever they are.
    AnsweredByPeer,
}
