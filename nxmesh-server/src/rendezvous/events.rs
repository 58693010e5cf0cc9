//! Push: what reaches a peer, by a WebSocket or by server-sent events, whichever the client asks for.

use axum::{
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    response::Response,
};
use http::{HeaderMap, header};
use nxmesh_core::rendezvous::{MAX_FOLLOWED, Realm, Role, Subscription, rpc::RpcHeaders};

use super::{
    credentials::{authenticate_stream, proof},
    event::{Terms, rpc_text, text},
    facade::Service,
    query::{Number, Parameters},
    realm::asking_origin,
    refusal::Refusal,
    sse, websocket,
};

/// `GET /events` of the protocol `offers`.
pub(super) async fn of_peer(
    State(service): State<Service>,
    request: Request,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(request.uri());
    let peer = authenticate_stream(&service.rendezvous, request.headers(), &parameters)?;
    service.limits.spend_of_peer(&peer)?;
    let topics = followed(&parameters, "topics")?;
    let since = since(request.headers(), &parameters)?;
    let feed = service.rendezvous.feed();
    let subscription = feed.subscribe(Realm::Offers, peer, since, topics)?;
    open(service, request, subscription, text).await
}

/// `GET /events?code=...&side=...` of the protocol `origin`.
pub(super) async fn of_session(
    State(service): State<Service>,
    request: Request,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(request.uri());
    let origin = asking_origin(&service, request.headers())?;
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
    let subscription = feed.subscribe(Realm::Origin(origin), recipient, since, Vec::new())?;
    open(service, request, subscription, text).await
}

/// `GET /events` of the protocol `rpc`. What proves who listens stands in headers, or in parameters of the names that it
/// has in a call.
pub(super) async fn of_key(
    State(service): State<Service>,
    request: Request,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of(request.uri());
    let RpcHeaders { public_key, timestamp, nonce, signature } = proof(request.headers());
    let given = |name| parameters.get(name).map(str::to_owned);
    let proof = RpcHeaders {
        public_key: public_key.or_else(|| given("publicKey")),
        timestamp: timestamp.or_else(|| given("timestamp")),
        nonce: nonce.or_else(|| given("nonce")),
        // A plus sign that was not escaped is read as a space.
        signature: signature.or_else(|| given("signature").map(|it| it.replace(' ', "+"))),
    };
    // Before the proof, which is good once.
    let tags = followed(&parameters, "tags")?;
    let since = since(request.headers(), &parameters)?;
    let key = service.rendezvous.rpc().listener(&proof).await?;
    let feed = service.rendezvous.feed();
    let subscription = feed.subscribe(Realm::Rpc, key.as_str().to_owned(), since, tags)?;
    open(service, request, subscription, rpc_text).await
}

/// What a listener follows, with commas between.
fn followed(parameters: &Parameters, name: &str) -> Result<Vec<String>, Refusal> {
    let named = parameters.get(name).filter(|it| !it.is_empty());
    let named: Vec<_> = named.into_iter().flat_map(|it| it.split(',')).map(str::to_owned).collect();
    match named.len() > MAX_FOLLOWED {
        true => Err(Refusal::bad(format!("Too many {name}. Maximum {MAX_FOLLOWED} per listener"))),
        false => Ok(named),
    }
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

/// Other protocols that a client offers to speak need not be spoken (RFC 9110, 7.8).
fn wants_websocket(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::UPGRADE).iter().filter_map(|it| it.to_str().ok());
    let mut offered = offered.flat_map(|it| it.split(','));
    offered.any(|it| it.trim().eq_ignore_ascii_case("websocket"))
}

async fn open(
    service: Service,
    request: Request,
    subscription: Subscription,
    terms: Terms,
) -> Result<Response, Refusal> {
    let tasks = service.rendezvous.tasks().clone();
    if !wants_websocket(request.headers()) {
        return Ok(sse::stream(subscription, terms, &tasks));
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let bad = |_| Refusal::bad("Upgrade must be websocket, by GET and HTTP/1.1");
    Ok(websocket::open(upgrade.map_err(bad)?, subscription, terms, tasks))
}
