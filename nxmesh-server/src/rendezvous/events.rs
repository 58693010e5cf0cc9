//! Push: what reaches a peer, by a WebSocket or by server-sent events, whichever the client asks for.

use axum::{
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    response::Response,
};
use http::{HeaderMap, header};
use nxmesh_core::rendezvous::{Delivered, FeedEvent, MAX_FOLLOWED, Realm, Role, Subscription};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    credentials::authenticate_stream,
    facade::Service,
    offers::Shown,
    origin::origin_of,
    query::{Number, Parameters},
    refusal::Refusal,
    sse, websocket,
};

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

/// `GET /events` of the protocol `offers`.
pub(super) async fn of_peer(
    State(service): State<Service>,
    request: Request,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(request.uri());
    let peer = authenticate_stream(&service.rendezvous, request.headers(), &parameters)?;
    service.limits.spend_of_peer(&peer)?;
    let topics = parameters.get("topics").filter(|it| !it.is_empty());
    let topics: Vec<_> =
        topics.into_iter().flat_map(|it| it.split(',')).map(str::to_owned).collect();
    if topics.len() > MAX_FOLLOWED {
        return Err(Refusal::bad(format!("Too many topics. Maximum {MAX_FOLLOWED} per listener")));
    }
    let since = since(request.headers(), &parameters)?;
    let feed = service.rendezvous.feed();
    let subscription = feed.subscribe(Realm::Offers, peer, since, topics);
    open(service, request, subscription).await
}

/// `GET /events?code=...&side=...` of the protocol `origin`.
pub(super) async fn of_session(
    State(service): State<Service>,
    request: Request,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(request.uri());
    let origin = origin_of(&service, request.headers())?;
    let code = parameters.get("code").filter(|it| !it.is_empty());
    let missing = || Refusal::bad("Missing or invalid required parameter: code");
    let code = code.ok_or_else(missing)?;
    let side = match parameters.get("side") {
        Some("offerer") => Role::Offerer,
        Some("answerer") => Role::Answerer,
        Some(_) | None => {
            let text = "Invalid or missing parameter: side (must be \"offerer\" or \"answerer\")";
            return Err(Refusal::bad(text));
        }
    };
    let since = since(request.headers(), &parameters)?;
    let recipient = service.rendezvous.sessions().recipient(&origin, code, side).await?;
    let feed = service.rendezvous.feed();
    let subscription = feed.subscribe(Realm::Origin(origin), recipient, since, Vec::new());
    open(service, request, subscription).await
}

/// From where to go on: the header that browsers send when they connect again, or a parameter.
fn since(headers: &HeaderMap, parameters: &Parameters) -> Result<i64, Refusal> {
    let bad = || Refusal::bad("Last-Event-ID and since must be the id of an event");
    if let Some(last) = headers.get("last-event-id").filter(|it| !it.is_empty()) {
        return last.to_str().ok().and_then(|it| it.parse().ok()).ok_or_else(bad);
    }
    match parameters.number("since") {
        None => Ok(0),
        Some(Number::Is(since)) => Ok(since),
        Some(Number::NaN) => Err(bad()),
    }
}

async fn open(
    service: Service,
    request: Request,
    subscription: Subscription,
) -> Result<Response, Refusal> {
    let tasks = service.rendezvous.tasks().clone();
    if !request.headers().contains_key(header::UPGRADE) {
        return Ok(sse::stream(subscription, &tasks));
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let bad = |_| Refusal::bad("Upgrade must be websocket, by GET and HTTP/1.1");
    Ok(websocket::open(upgrade.map_err(bad)?, subscription, tasks))
}
