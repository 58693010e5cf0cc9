use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    batch::Rpc,
    error::{CallError, CallResult, RpcErrorCode},
    limits::MAX_CANDIDATES_OF_PEER,
    offers::not_found,
};
use crate::{
    Error, ErrorKind,
    rendezvous::{
        AddCandidates, Candidate, CandidatesAdded, Delivered, Delivery, MAX_CANDIDATES_PER_SIDE,
        Millis, PublicKey, ReadCandidates, Realm,
    },
};

/// How many deliveries are read at once.
const PAGE: u32 = 100;
/// After this many bytes a poll has enough: what is left comes with the next one, whose `since` is
/// the last stamp of this one.
const ENOUGH_BYTES: usize = 1024 * 1024;

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Polled {
    answers: Vec<PolledAnswer>,
    ice_candidates: BTreeMap<String, Vec<PolledCandidate>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolledAnswer {
    offer_id: String,
    answerer_public_key: String,
    sdp: Arc<str>,
    answered_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_tags: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PolledCandidate {
    /// No other delivery to this peer has the same stamp.
    id: Millis,
    offer_id: String,
    public_key: String,
    role: &'static str,
    candidate: Box<RawValue>,
    created_at: Millis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Added {
    count: usize,
    offer_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FoundCandidates {
    candidates: Vec<FoundCandidate>,
    offer_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundCandidate {
    candidate: Box<RawValue>,
    role: &'static str,
    created_at: Millis,
}

impl Rpc<'_> {
    /// What reached a key after a stamp, of which there may be more.
    pub(super) async fn poll(&self, by: &PublicKey, mut since: Millis) -> CallResult<Polled> {
        let (mut polled, mut bytes) = (Polled::default(), 0);
        loop {
            let (to, now) = (by.as_str(), self.0.now());
            let page = self.0.store.deliveries(&Realm::Rpc, to, since, PAGE, now).await?;
            let is_last = page.len() < PAGE as usize;
            since = page.last().map_or(since, |it| it.stamp);
            for delivery in page {
                bytes += delivery.bytes();
                polled.add(delivery)?;
            }
            if is_last || bytes > ENOUGH_BYTES {
                return Ok(polled);
            }
        }
    }

    /// Whoever is not the offerer is taken for an answerer, though there be no answer yet: clients
    /// send candidates before it.
    pub(super) async fn add_ice_candidates(
        &self,
        by: &PublicKey,
        id: String,
        candidates: Vec<String>,
    ) -> CallResult<Added> {
        let count = candidates.len();
        let add = AddCandidates {
            realm: Realm::Rpc,
            id: id.clone(),
            by: by.as_str().to_owned(),
            bodies: candidates,
            most_early: Some(MAX_CANDIDATES_PER_SIDE),
            most: MAX_CANDIDATES_OF_PEER,
            now: self.0.now(),
        };
        match self.0.store.add_candidates(add).await? {
            CandidatesAdded::Added { to: _ } => Ok(Added { count, offer_id: id }),
            CandidatesAdded::NotFound => Err(not_found()),
            CandidatesAdded::NotAllowed => Err(not_authorized()),
            CandidatesAdded::TooMany => {
                let what = format!(
                    "ICE candidate limit exceeded for offer. The limit is {MAX_CANDIDATES_OF_PEER}."
                );
                Err(CallError::new(RpcErrorCode::TooManyIceCandidates, what))
            }
        }
    }

    pub(super) async fn get_ice_candidates(
        &self,
        by: &PublicKey,
        id: String,
        since: Millis,
    ) -> CallResult<FoundCandidates> {
        let (by, now) = (by.as_str(), self.0.now());
        match self.0.store.candidates(&Realm::Rpc, &id, by, since, now).await? {
            ReadCandidates::Read(candidates) => {
                let candidates = candidates.into_iter().map(|it| {
                    let Candidate { peer: _, role, body, stamp } = it;
                    let (role, candidate) = (role.as_str(), raw(body)?);
                    Ok(FoundCandidate { candidate, role, created_at: stamp })
                });
                Ok(FoundCandidates {
                    candidates: candidates.collect::<CallResult<_>>()?,
                    offer_id: id,
                })
            }
            ReadCandidates::NotFound => Err(not_found()),
            ReadCandidates::NotAllowed => Err(not_authorized()),
        }
    }
}

impl Polled {
    fn add(&mut self, delivery: Delivery) -> CallResult<()> {
        let Delivery { stamp, offer, what } = delivery;
        match what {
            Delivered::Answer { by, sdp, matched_topics } => {
                self.answers.push(PolledAnswer {
                    offer_id: offer,
                    answerer_public_key: by,
                    sdp,
                    answered_at: stamp,
                    matched_tags: matched_topics,
                });
            }
            Delivered::Candidate(Candidate { peer, role, body, stamp: _ }) => {
                self.ice_candidates.entry(offer.clone()).or_default().push(PolledCandidate {
                    id: stamp,
                    offer_id: offer,
                    public_key: peer,
                    role: role.as_str(),
                    candidate: raw(body)?,
                    created_at: stamp,
                });
            }
        }
        Ok(())
    }
}

fn not_authorized() -> CallError {
    let what = "Not authorized to access ICE candidates for this offer";
    CallError::new(RpcErrorCode::NotAuthorized, what)
}

fn raw(body: String) -> CallResult<Box<RawValue>> {
    RawValue::from_string(body).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a candidate is no JSON").with_source(error).into()
    })
}
