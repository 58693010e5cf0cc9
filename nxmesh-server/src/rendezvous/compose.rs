use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use http::Uri;
use nxmesh_core::rendezvous::Rendezvous;

use super::{
    RendezvousHttpSettings,
    facade::{Service, make_plain, set_path},
    offers::offers_of,
    origin::origin_of,
    rpc::rpc_of,
};

/// All three protocols, to be merged into a router: `offers` at `/rendezvous`, `origin` at
/// `/rendezvous/origin`, `rpc` at `/rendezvous/rpc`. They share their limits.
pub fn all(rendezvous: &Rendezvous, settings: &RendezvousHttpSettings) -> Router {
    let service = Service::new(rendezvous.clone(), settings);
    // Services, as the paths that end in a slash are those of the routers then too.
    Router::new()
        .nest_service("/rendezvous/origin", origin_of(&service))
        .nest_service("/rendezvous", beside_rpc(offers_of(&service), &service))
}

/// A protocol with `rpc` beside it at `/rpc`, for the root of a listener.
pub fn with_rpc(
    protocol: Router,
    rendezvous: &Rendezvous,
    settings: &RendezvousHttpSettings,
) -> Router {
    beside_rpc(protocol, &Service::new(rendezvous.clone(), settings))
}

fn beside_rpc(protocol: Router, service: &Service) -> Router {
    let both = Router::new().nest_service("/rpc", rpc_of(service)).fallback_service(protocol);
    // The path is made plain before it is looked at: a layer of the routes would come too late.
    Router::new().fallback_service(both).layer(middleware::from_fn(
        async |mut request: Request, next: Next| {
            make_plain(request.uri_mut());
            spare_topic(request.uri_mut());
            next.run(request).await
        },
    ))
}

/// `/rpc/offer` is of the topic `rpc`. Routes are found by the path as it is written, and topics by what it says.
fn spare_topic(uri: &mut Uri) {
    let of_topic =
        uri.path().strip_prefix("/rpc/").filter(|it| !["", "rpc", "health", "events"].contains(it));
    if let Some(rest) = of_topic {
        set_path(uri, &format!("/%72pc/{rest}"));
    }
}
