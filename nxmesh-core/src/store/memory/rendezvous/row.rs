use std::{collections::BTreeMap, sync::Arc};

use crate::{
    rendezvous::{Answered, Candidate, Millis, NewOffer, Offer, Realm, Role},
    tenancy::Sealed,
};

/// The place of an offer among all that were ever made.
pub(super) type Seq = u64;

/// An offer, and what belongs to it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) realm: Arc<Realm>,
    pub(super) id: Arc<str>,
    pub(super) peer: Arc<str>,
    pub(super) sdp: Arc<str>,
    pub(super) topics: Box<[Arc<str>]>,
    pub(super) info: Option<Box<str>>,
    pub(super) secret: Option<Sealed>,
    pub(super) created_at: Millis,
    pub(super) last_seen: Millis,
    pub(super) expires_at: Millis,
    pub(super) answer: Option<Box<AnswerRow>>,
    pub(super) wrong_secrets: u32,
    pub(super) locked_until: Millis,
    /// By whom they are, each in the order in which they came.
    pub(super) candidates: BTreeMap<Arc<str>, Vec<CandidateRow>>,
}

#[derive(Debug)]
pub(super) struct AnswerRow {
    pub(super) by: Arc<str>,
    pub(super) sdp: Arc<str>,
    pub(super) at: Millis,
    pub(super) matched_topics: Option<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct CandidateRow {
    pub(super) body: Box<str>,
    pub(super) stamp: Millis,
}

impl Row {
    pub(super) const fn is_live(&self, now: Millis) -> bool {
        self.expires_at > now
    }

    /// Whether publishing this would be publishing the same twice.
    pub(super) fn is_same(&self, peer: &str, other: &NewOffer) -> bool {
        let has = |topic: &String| self.topics.iter().any(|it| **it == **topic);
        let same_topics = self.topics.len() == other.topics.len() && other.topics.iter().all(has);
        *self.peer == *peer && self.sdp == other.sdp && same_topics
    }

    pub(super) fn answerer(&self) -> Option<&Arc<str>> {
        self.answer.as_ref().map(|it| &it.by)
    }

    /// What part the peer has in it.
    pub(super) fn role_of(&self, peer: &str) -> Option<Role> {
        if *self.peer == *peer {
            return Some(Role::Offerer);
        }
        self.answerer().filter(|it| ***it == *peer).map(|_| Role::Answerer)
    }

    /// To whom goes what this peer adds: not to itself, when it answered its own offer.
    pub(super) fn other_than(&self, peer: &str) -> Option<&Arc<str>> {
        let answerer = self.answerer()?;
        let other = if *self.peer == *peer { answerer } else { &self.peer };
        Some(other).filter(|it| ***it != *peer)
    }

    pub(super) fn candidates_by(&self, peer: &str) -> &[CandidateRow] {
        self.candidates.get(peer).map_or(&[], Vec::as_slice)
    }

    /// How many candidates there are of peers that are not its own.
    pub(super) fn early(&self) -> usize {
        let others = self.candidates.iter().filter(|(by, _)| **by != self.peer);
        others.map(|(_, candidates)| candidates.len()).sum()
    }

    pub(super) fn to_candidate(&self, by: &str, row: &CandidateRow) -> Candidate {
        let role = if *self.peer == *by { Role::Offerer } else { Role::Answerer };
        Candidate { peer: by.to_owned(), role, body: row.body.to_string(), stamp: row.stamp }
    }

    pub(super) fn to_offer(&self) -> Offer {
        let answered = self.answer.as_ref().map(|it| Answered {
            by: it.by.to_string(),
            sdp: Arc::clone(&it.sdp),
            at: it.at,
            matched_topics: it.matched_topics.clone(),
        });
        Offer {
            id: self.id.to_string(),
            peer: self.peer.to_string(),
            sdp: Arc::clone(&self.sdp),
            topics: self.topics.iter().map(|it| it.to_string()).collect(),
            info: self.info.as_ref().map(|it| it.to_string()),
            secret: self.secret.clone(),
            created_at: self.created_at,
            last_seen: self.last_seen,
            expires_at: self.expires_at,
            answered,
            wrong_secrets: self.wrong_secrets,
            locked_until: self.locked_until,
        }
    }
}
