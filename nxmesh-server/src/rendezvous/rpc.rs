//! The protocol `rpc`: batches of signed calls.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use nxmesh_core::rendezvous::{
    Rendezvous,
    rpc::{Rpc, RpcAnswer, RpcVerdict},
};
use serde::Serialize;

use super::{
    RendezvousHttpSettings,
    cors::Cors,
    credentials::proof,
    events,
    facade::{Health, Service, around_with},
    json::json,
    refusal::Refusal,
};

/// The largest batch: a hundred session descriptions of 64 KiB, line ends written with a backslash, and
/// what belongs to them. Read, checked and stored, a batch takes about five times its own size; how much of all
/// together is at hand has its limit in `body.rs`.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// The routes of the protocol `rpc`, to be served, nested, or mounted alone. Batches are taken at `/rpc`, and at
/// `/`, so that nested at `/rpc` it is found there too. Requests are limited by address: serve the router with
/// `into_make_service_with_connect_info::<SocketAddr>()`, or there is no limit.
pub fn rpc(rendezvous: Rendezvous) -> Router {
    rpc_with(rendezvous, &RendezvousHttpSettings::default())
}

/// The same with other settings.
pub fn rpc_with(rendezvous: Rendezvous, settings: &RendezvousHttpSettings) -> Router {
    rpc_of(&Service::new(rendezvous, settings))
}

/// The same for a service whose limits other protocols share.
pub(super) fn rpc_of(service: &Service) -> Router {
    let cors = Cors {
        protocol: "rpc",
        origins: service.settings.allowed_origins.clone(),
        methods: "GET,POST,OPTIONS",
        headers: "Content-Type,Origin,X-PublicKey,X-Timestamp,X-Nonce,X-Signature",
        max_age: "86400",
        credentials: false,
    };
    let routes = Router::new()
        .route("/", get(about).post(call))
        .route("/rpc", axum::routing::post(call))
        .route("/health", get(health))
        .route("/events", get(events::of_key));
    around_with(routes, service, cors, unknown)
}

#[derive(Serialize)]
struct About<'a> {
    version: &'a str,
    name: &'static str,
    description: &'static str,
    stats: Stats,
}

#[derive(Serialize)]
struct Stats {
    offers: u64,
}

async fn about(State(service): State<Service>) -> Result<Response, Refusal> {
    let offers = service.rendezvous.rpc().offers().await?;
    Ok(json(&About {
        version: &service.settings.version,
        name: "Rondevu",
        description: "WebRTC signaling with RPC interface and Ed25519 signature-based authentication",
        stats: Stats { offers },
    }))
}

async fn health(State(service): State<Service>) -> Response {
    json(&Health::of(&service, Some(&service.settings.version)))
}

async fn call(State(service): State<Service>, request: Request) -> Result<Response, Refusal> {
    let proof = proof(request.headers());
    let limited = service.limits.spend_of_rpc(&request);
    let (text, _room) = match service.bodies.read(request, MAX_BODY).await {
        Ok(read) => read,
        Err(refusal) if refusal.status == StatusCode::PAYLOAD_TOO_LARGE => {
            let mut response = refusal.into_response();
            *response.body_mut() = Body::from(Rpc::too_large(MAX_BODY).body);
            response.headers_mut().remove(header::CONTENT_LENGTH);
            return Ok(response);
        }
        Err(refusal) => return Err(refusal),
    };
    let rpc = service.rendezvous.rpc();
    let Err(limit) = limited else { return Ok(answer(rpc.answer(text, proof).await)) };
    let mut response = answer(rpc.refuse(text, limit.per_second).await);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(limit.seconds));
    Ok(response)
}

fn answer(answer: RpcAnswer) -> Response {
    let RpcAnswer { verdict, body } = answer;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = match verdict {
        RpcVerdict::Answered => StatusCode::OK,
        RpcVerdict::Invalid => StatusCode::BAD_REQUEST,
        RpcVerdict::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn unknown() -> Response {
    let text = "Not found. Use POST /rpc for all API calls.";
    Refusal::new(StatusCode::NOT_FOUND, text).into_response()
}
