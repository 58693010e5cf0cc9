use serde::Deserialize;

use super::{Answer, Candidate, Offer};

/// What a server tells a peer as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// Somebody answered an offer of one's own.
    Answer(Answer),
    /// The other side of an offer sent a candidate.
    Candidate {
        /// Of which offer.
        offer_id: String,
        /// What it is.
        candidate: Candidate,
    },
    /// An offer of one's own expired.
    Expired {
        /// Which one.
        offer_id: String,
    },
    /// There is a new offer under a topic that one follows.
    Offer {
        /// Which topic.
        topic: String,
        /// What is offered.
        offer: Box<Offer>,
    },
    /// Some offers or ends of offers were not told of: look at them again. Answers and candidates are never missed.
    Missed,
}

impl PeerEvent {
    /// Reads an event; `None` for a sort that a newer server may have.
    pub(super) fn parse(text: &str) -> serde_json::Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Sort {
            #[serde(rename = "type")]
            sort: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OfOffer {
            offer_id: String,
        }
        #[derive(Deserialize)]
        struct UnderTopic {
            topic: String,
            offer: Box<Offer>,
        }
        let Sort { sort } = serde_json::from_str(text)?;
        let event = match sort.as_str() {
            "answer" => Self::Answer(serde_json::from_str(text)?),
            "candidate" => {
                let OfOffer { offer_id } = serde_json::from_str(text)?;
                Self::Candidate { offer_id, candidate: serde_json::from_str(text)? }
            }
            "offer.expired" => {
                let OfOffer { offer_id } = serde_json::from_str(text)?;
                Self::Expired { offer_id }
            }
            "offer" => {
                let UnderTopic { topic, offer } = serde_json::from_str(text)?;
                Self::Offer { topic, offer }
            }
            "missed" => Self::Missed,
            _ => return Ok(None),
        };
        Ok(Some(event))
    }
}
