//! Credentials for a TURN server, which takes them by the secret that it shares with this one.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use serde::Serialize;

use super::{facade::Service, json::json, refusal::Refusal};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Turn<'a> {
    username: &'a str,
    /// As `RTCIceServer` calls it.
    credential: &'a str,
    /// As the draft of the scheme calls it.
    password: &'a str,
    /// In seconds.
    ttl: u64,
    /// In milliseconds since 1970.
    expires_at: i64,
    uris: &'a [String],
    /// The same, for `RTCIceServer`.
    urls: &'a [String],
}

pub(super) async fn of_peer(
    State(service): State<Service>,
    request: Request,
) -> Result<Response, Refusal> {
    let peer = service.peer(&request)?;
    let none = || Refusal::new(StatusCode::NOT_FOUND, "No TURN server is set up");
    let turn = service.settings.turn.as_ref().ok_or_else(none)?;
    let issued = turn.key.issue(&peer, service.rendezvous.now(), turn.ttl);
    let credential = issued.credential.expose();
    Ok(json(&Turn {
        username: &issued.username,
        credential,
        password: credential,
        ttl: turn.ttl.as_secs(),
        expires_at: issued.expires_at,
        uris: &turn.uris,
        urls: &turn.uris,
    }))
}
