use nxmesh_core::rendezvous::{Delivered, FeedEvent, Offer};
use serde::Serialize;
use serde_json::value::RawValue;

use super::offer::Shown;

/// An event as it is sent.
#[derive(Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum Sent<'a> {
    #[serde(rename = "answer")]
    Answer { offer_id: &'a str, answerer_id: &'a str, sdp: &'a str, answered_at: i64 },
    #[serde(rename = "candidate")]
    Candidate {
        offer_id: &'a str,
        peer_id: &'a str,
        role: &'static str,
        candidate: &'a RawValue,
        created_at: i64,
    },
    #[serde(rename = "offer.expired")]
    Expired { offer_id: &'a str },
    #[serde(rename = "offer")]
    Published { topic: &'a str, offer: Shown<'a> },
    #[serde(rename = "missed")]
    Missed,
}

/// An event as text, with its stamp if it is one that can be asked for again.
pub(super) fn text(event: &FeedEvent) -> (Option<i64>, String) {
    let (stamp, sent) = match event {
        FeedEvent::Delivery(delivery) => {
            let (stamp, offer_id) = (delivery.stamp, delivery.offer.as_str());
            let sent = match &delivery.what {
                Delivered::Answer { by, sdp, matched_topics: _ } => {
                    Sent::Answer { offer_id, answerer_id: by, sdp, answered_at: stamp }
                }
                Delivered::Candidate(it) => Sent::Candidate {
                    offer_id,
                    peer_id: &it.peer,
                    role: it.role.as_str(),
                    // What was stored was JSON.
                    candidate: serde_json::from_str(&it.body).unwrap_or(RawValue::NULL),
                    created_at: it.stamp,
                },
            };
            (Some(stamp), sent)
        }
        FeedEvent::Expired { offer } => (None, Sent::Expired { offer_id: offer }),
        FeedEvent::Published { topic, offer } => {
            (None, Sent::Published { topic, offer: Shown::of(offer, Some(&offer.peer)) })
        }
        FeedEvent::Missed => (None, Sent::Missed),
    };
    (stamp, serde_json::to_string(&sent).unwrap_or_default())
}

/// Writes an event in the terms of a protocol, with its stamp if it is one that can be asked for again.
pub(super) type Terms = fn(&FeedEvent) -> (Option<i64>, String);

/// An offer in the terms of the protocol `rpc`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RpcOffer<'a> {
    offer_id: &'a str,
    public_key: &'a str,
    tags: &'a [String],
    sdp: &'a str,
    created_at: i64,
    expires_at: i64,
}

impl<'a> RpcOffer<'a> {
    fn of(offer: &'a Offer) -> Self {
        let Offer { id, peer, sdp, topics, created_at, expires_at, .. } = offer;
        let (created_at, expires_at) = (*created_at, *expires_at);
        Self { offer_id: id, public_key: peer, tags: topics, sdp, created_at, expires_at }
    }
}

/// The same in the terms of the protocol `rpc`: answers and candidates are those that `poll` has.
#[derive(Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum RpcSent<'a> {
    #[serde(rename = "answer")]
    Answer {
        offer_id: &'a str,
        answerer_public_key: &'a str,
        sdp: &'a str,
        answered_at: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        matched_tags: Option<&'a [String]>,
    },
    #[serde(rename = "candidate")]
    Candidate {
        id: i64,
        offer_id: &'a str,
        public_key: &'a str,
        role: &'static str,
        candidate: &'a RawValue,
        created_at: i64,
    },
    #[serde(rename = "offer.expired")]
    Expired { offer_id: &'a str },
    #[serde(rename = "offer")]
    Published { tag: &'a str, offer: RpcOffer<'a> },
    #[serde(rename = "missed")]
    Missed,
}

/// An event in the terms of the protocol `rpc`.
pub(super) fn rpc_text(event: &FeedEvent) -> (Option<i64>, String) {
    let (stamp, sent) = match event {
        FeedEvent::Delivery(delivery) => {
            let (stamp, offer_id) = (delivery.stamp, delivery.offer.as_str());
            let sent = match &delivery.what {
                Delivered::Answer { by, sdp, matched_topics } => RpcSent::Answer {
                    offer_id,
                    answerer_public_key: by,
                    sdp,
                    answered_at: stamp,
                    matched_tags: matched_topics.as_deref(),
                },
                Delivered::Candidate(it) => RpcSent::Candidate {
                    id: stamp,
                    offer_id,
                    public_key: &it.peer,
                    role: it.role.as_str(),
                    // What was stored was JSON.
                    candidate: serde_json::from_str(&it.body).unwrap_or(RawValue::NULL),
                    created_at: stamp,
                },
            };
            (Some(stamp), sent)
        }
        FeedEvent::Expired { offer } => (None, RpcSent::Expired { offer_id: offer }),
        FeedEvent::Published { topic, offer } => {
            (None, RpcSent::Published { tag: topic, offer: RpcOffer::of(offer) })
        }
        FeedEvent::Missed => (None, RpcSent::Missed),
    };
    (stamp, serde_json::to_string(&sent).unwrap_or_default())
}
