use nxmesh_core::rendezvous::Offer;
use serde::Serialize;

/// An offer as everybody sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<&'a str>,
    sdp: &'a str,
    topics: &'a [String],
    expires_at: i64,
    last_seen: i64,
    has_secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a str>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(offer: &'a Offer, peer_id: Option<&'a str>) -> Self {
        Self {
            id: &offer.id,
            peer_id,
            sdp: &offer.sdp,
            topics: &offer.topics,
            expires_at: offer.expires_at,
            last_seen: offer.last_seen,
            has_secret: offer.secret.is_some(),
            info: offer.info.as_deref(),
        }
    }
}
