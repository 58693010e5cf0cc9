//! The calls of the protocol `rpc`, each with what it answers.

use std::collections::BTreeMap;

use nxmesh_core::rendezvous::{Millis, Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Method, ice_candidates::role};

/// Open offers of others with any of some tags, the newest first.
#[derive(Debug, Clone, Serialize)]
pub struct Discover {
    /// Which tags.
    pub tags: Vec<String>,
    /// How many at most.
    pub limit: u32,
    /// How many to leave out at the beginning.
    pub offset: u32,
}

impl Method for Discover {
    const NAME: &'static str = "discover";
    type Answer = RpcOfferPage;
}

/// One open offer of somebody else, by chance, with any of some tags.
#[derive(Debug, Clone, Serialize)]
pub struct DiscoverOne {
    /// Which tags.
    pub tags: Vec<String>,
}

impl Method for DiscoverOne {
    const NAME: &'static str = "discover";
    type Answer = RpcOffer;
}

/// Some offers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct RpcOfferPage {
    /// The newest first.
    pub offers: Vec<RpcOffer>,
    /// How many these are.
    pub count: u64,
}

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RpcOffer {
    /// Its id.
    pub offer_id: String,
    /// Whose it is.
    pub public_key: String,
    /// What it is found under.
    pub tags: Vec<String>,
    /// The session description.
    pub sdp: String,
    /// When it was made.
    pub created_at: Millis,
    /// From then on it is gone.
    pub expires_at: Millis,
}

/// How many open offers there are with each of some tags.
#[derive(Debug, Clone, Serialize)]
pub struct CountOffersByTags {
    /// Which tags.
    pub tags: Vec<String>,
    /// Counts peers instead of offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique: Option<bool>,
}

impl Method for CountOffersByTags {
    const NAME: &'static str = "countOffersByTags";
    type Answer = OfferCounts;
}

/// How many offers there are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct OfferCounts {
    /// By tag; 0 where there are none.
    pub counts: BTreeMap<String, u64>,
}

/// Makes offers under the same tags: all of them, or none.
#[derive(Debug, Clone, Serialize)]
pub struct PublishOffer {
    /// What they are found under.
    pub tags: Vec<String>,
    /// What is offered.
    pub offers: Vec<NewRpcOffer>,
    /// For how many milliseconds, within the server's bounds; the server decides, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// An offer that is to be made.
#[derive(Debug, Clone, Serialize)]
pub struct NewRpcOffer {
    /// The session description.
    pub sdp: String,
}

impl Method for PublishOffer {
    const NAME: &'static str = "publishOffer";
    type Answer = PublishedOffers;
}

/// What offers got when they were made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PublishedOffers {
    /// Each, in the order given.
    pub offers: Vec<PublishedRpcOffer>,
    /// From then on they are gone.
    pub expires_at: Millis,
}

/// What an offer got when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PublishedRpcOffer {
    /// Its id.
    pub offer_id: String,
    /// From then on it is gone.
    pub expires_at: Millis,
}

/// Takes an offer of one's own back.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteOffer {
    /// Which one.
    pub offer_id: String,
}

impl Method for DeleteOffer {
    const NAME: &'static str = "deleteOffer";
    type Answer = Done;
}

/// That it was done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Done {}

/// Puts all open offers of one's own under other tags.
#[derive(Debug, Clone, Serialize)]
pub struct UpdateOfferTags {
    /// Which ones.
    pub tags: Vec<String>,
}

impl Method for UpdateOfferTags {
    const NAME: &'static str = "updateOfferTags";
    type Answer = UpdatedOffers;
}

/// How many offers were changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UpdatedOffers {
    /// So many.
    pub count: u64,
}

/// Answers an offer. Of many who do, one is taken.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerOffer {
    /// Which one.
    pub offer_id: String,
    /// The session description.
    pub sdp: String,
    /// For which of its tags, if that is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_tags: Option<Vec<String>>,
}

impl Method for AnswerOffer {
    const NAME: &'static str = "answerOffer";
    type Answer = Done;
}

/// The answer to an offer of one's own.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetOfferAnswer {
    /// Which one.
    pub offer_id: String,
}

impl Method for GetOfferAnswer {
    const NAME: &'static str = "getOfferAnswer";
    type Answer = RpcAnswer;
}

/// An answer to an offer of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RpcAnswer {
    /// To which offer.
    pub offer_id: String,
    /// By whom.
    pub answerer_public_key: String,
    /// Their session description.
    pub sdp: String,
    /// When.
    pub answered_at: Millis,
    /// For which tags, if the answerer said so.
    pub matched_tags: Option<Vec<String>>,
}

/// What reached one, of all offers that one made or answered.
#[derive(Debug, Clone, Serialize)]
pub struct Poll {
    /// After which stamp; everything, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
}

impl Method for Poll {
    const NAME: &'static str = "poll";
    type Answer = Polled;
}

/// What reached one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Polled {
    /// Answers to one's own offers.
    pub answers: Vec<RpcAnswer>,
    /// Candidates of the other side, by offer.
    pub ice_candidates: BTreeMap<String, Vec<RpcCandidate>>,
}

impl Polled {
    /// Where to go on: the highest stamp in it.
    #[must_use]
    pub fn last(&self) -> Option<Millis> {
        let candidates = self.ice_candidates.values().flatten().map(|it| it.created_at);
        self.answers.iter().map(|it| it.answered_at).chain(candidates).max()
    }
}

/// A candidate of the other side.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RpcCandidate {
    /// The part of who sent it.
    #[serde(deserialize_with = "role")]
    pub role: Role,
    /// What they sent, to the letter.
    pub candidate: Value,
    /// When it came.
    pub created_at: Millis,
}

/// Adds candidates of one's own.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddIceCandidates {
    /// To which offer.
    pub offer_id: String,
    /// What they are: objects.
    pub candidates: Vec<Value>,
}

impl Method for AddIceCandidates {
    const NAME: &'static str = "addIceCandidates";
    type Answer = AddedCandidates;
}

/// How many candidates were added.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AddedCandidates {
    /// So many.
    pub count: u64,
}

/// The candidates of the other side of an offer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetIceCandidates {
    /// Which offer.
    pub offer_id: String,
    /// After which stamp; all, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
}

impl Method for GetIceCandidates {
    const NAME: &'static str = "getIceCandidates";
    type Answer = RpcCandidates;
}

/// Candidates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct RpcCandidates {
    /// In the order in which they came.
    pub candidates: Vec<RpcCandidate>,
}
