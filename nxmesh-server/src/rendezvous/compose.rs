use axum::Router;
use nxmesh_core::rendezvous::Rendezvous;

use super::{RendezvousHttpSettings, offers_with, origin_with, rpc_with};

/// All three protocols, to be merged into a router: `offers` at `/rendezvous`, `origin` at
/// `/rendezvous/origin`, `rpc` at `/rendezvous/rpc`.
pub fn all(rendezvous: &Rendezvous, settings: &RendezvousHttpSettings) -> Router {
    // Services, as the paths that end in a slash are those of the routers then too.
    Router::new()
        .nest_service("/rendezvous/origin", origin_with(rendezvous.clone(), settings))
        .nest_service(
            "/rendezvous",
            with_rpc(offers_with(rendezvous.clone(), settings), rendezvous, settings),
        )
}

/// A protocol with `rpc` beside it at `/rpc`, for the root of a listener.
pub fn with_rpc(
    protocol: Router,
    rendezvous: &Rendezvous,
    settings: &RendezvousHttpSettings,
) -> Router {
    Router::new()
        .nest_service("/rpc", rpc_with(rendezvous.clone(), settings))
        .fallback_service(protocol)
}
