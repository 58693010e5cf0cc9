use http::{HeaderMap, header};
use nxmesh_core::rendezvous::{Rendezvous, rpc::RpcHeaders};

use super::{query::Parameters, refusal::Refusal};

/// The peer that a request proves itself to be from, by the header `Authorization`.
pub(super) fn authenticate(
    rendezvous: &Rendezvous,
    headers: &HeaderMap,
) -> Result<String, Refusal> {
    let missing = || Refusal::unauthorized("Missing Authorization header");
    let header = headers.get(header::AUTHORIZATION).filter(|it| !it.is_empty());
    let header = header.ok_or_else(missing)?;
    let form = || {
        let text = "Invalid Authorization header format. Expected: Bearer {peerId}:{secret}";
        Refusal::unauthorized(text)
    };
    let parts: Vec<_> = header.to_str().map_err(|_| form())?.split(' ').collect();
    let ["Bearer", credential] = parts[..] else { return Err(form()) };
    check(rendezvous, credential)
}

/// The same for what browsers cannot send a header with: also by the parameter `access_token`.
pub(super) fn authenticate_stream(
    rendezvous: &Rendezvous,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<String, Refusal> {
    match parameters.get("access_token") {
        Some(credential) if !headers.contains_key(header::AUTHORIZATION) => {
            // A plus sign that was not escaped is read as a space, of which a credential has none.
            check(rendezvous, &credential.replace(' ', "+"))
        }
        Some(_) | None => authenticate(rendezvous, headers),
    }
}

fn check(rendezvous: &Rendezvous, credential: &str) -> Result<String, Refusal> {
    let form = "Invalid credentials format. Expected: {peerId}:{secret}";
    let parts: Vec<_> = credential.split(':').collect();
    let [peer_id, secret] = parts[..] else { return Err(Refusal::unauthorized(form)) };
    match rendezvous.offers().is_peer(peer_id, secret) {
        true => Ok(peer_id.to_owned()),
        false => Err(Refusal::unauthorized("Invalid credentials")),
    }
}

/// What older clients prove themselves by.
pub(super) fn proof(headers: &HeaderMap) -> RpcHeaders {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    RpcHeaders {
        public_key: text("x-publickey"),
        timestamp: text("x-timestamp"),
        nonce: text("x-nonce"),
        signature: text("x-signature"),
    }
}
