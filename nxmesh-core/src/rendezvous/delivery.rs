use std::sync::Arc;

use super::{Candidate, Millis};

/// Something that reached a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it did, in the peer's own order: each delivery to a peer has a higher stamp than the
    /// one before it, and none is added later below a stamp that the peer has seen. A stamp
    /// is the time, or a little ahead of it where more than one delivery came in a millisecond.
    pub stamp: Millis,
    /// Of which offer.
    pub offer: String,
    /// What it is.
    pub what: Delivered,
}

/// What can reach a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// An answer to an offer of the peer's.
    Answer {
        /// Who answered.
        by: String,
        /// Their session description.
        sdp: Arc<str>,
        /// For which topics, if the answerer said so.
        matched_topics: Option<Vec<String>>,
    },
    /// A candidate of the other side.
    Candidate(Candidate),
}

impl Delivery {
    /// How large it is, about.
    pub(in crate::rendezvous) fn bytes(&self) -> usize {
        match &self.what {
            Delivered::Answer { sdp, .. } => sdp.len(),
            Delivered::Candidate(candidate) => candidate.body.len(),
        }
    }
}
