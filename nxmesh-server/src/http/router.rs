use std::time::Duration;

use axum::{Extension, Router, middleware};
use http::{HeaderName, Method};
use nxmesh_core::Mesh;
use tower_http::cors::CorsLayer;

use crate::{
    events, gateway,
    http::{
        ApiError, HttpSettings, Needs, Route, Routes,
        limits::{self, Limits},
        metrics::{self, Metrics},
        openapi::openapi,
        probe, watch,
    },
    tenancy,
};

fn v1() -> Routes {
    tenancy::routes()
        .merge(gateway::routes())
        .merge(events::routes())
        .on(Method::GET, "/openapi.json", Needs::Nothing, openapi)
        .says("Get this document")
        .describe("In OpenAPI 3.1.")
}

/// What there is beside `/v1`.
fn beside() -> Routes {
    Routes::at_root()
        .on(Method::GET, "/.well-known/jwks.json", Needs::Nothing, tenancy::jwks)
        .says("Get the keys that access tokens are checked with")
        .describe("A JSON Web Key Set (RFC 7517).")
        .on(Method::GET, "/healthz", Needs::Nothing, probe::alive)
        .says("Ask whether the server is alive")
        .on(Method::GET, "/readyz", Needs::Nothing, probe::ready)
        .says("Ask whether the server can serve")
        .describe("Its store answers.")
        .on(Method::GET, "/metrics", Needs::Nothing, metrics::show)
        .says("Get the figures of the server")
        .describe("In OpenMetrics text, which Prometheus reads.")
}

/// All routes.
pub(super) fn all() -> Routes {
    v1().merge(beside())
}

/// What there is under `/v1`, and who may use it.
#[must_use]
pub fn routes() -> Vec<Route> {
    v1().into_rules()
}

/// All routes, to be served or nested in a router of your own. Requests are limited as
/// [`HttpSettings`] says by default: serve the router with
/// `into_make_service_with_connect_info::<SocketAddr>()`, or all who are not logged in share one limit.
pub fn http(mesh: Mesh) -> Router {
    http_with(mesh, &HttpSettings::default())
}

/// The same with other settings.
pub fn http_with(mesh: Mesh, settings: &HttpSettings) -> Router {
    let metrics = Metrics::new(settings.more_figures.clone());
    let limited = v1().into_router(&mesh);
    let limited = match Limits::new(settings, metrics.refused()) {
        Some(limits) => limited.layer(middleware::from_fn_with_state(limits, limits::layer)),
        None => limited,
    };
    let router = limited.merge(beside().into_router(&mesh).layer(Extension(metrics.clone())));
    #[cfg(feature = "docs")]
    let router = router.merge(super::docs::routes());
    let router = router
        .fallback(async || ApiError::unknown_path())
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(middleware::from_fn_with_state(metrics, watch::layer));
    let router = match settings.allowed_origins.is_empty() {
        true => router,
        false => router.layer(cors(settings)),
    };
    router.with_state(mesh)
}

/// What browsers are told: scripts of these origins may send and see all that the API has.
fn cors(settings: &HttpSettings) -> CorsLayer {
    let methods = [Method::GET, Method::POST, Method::PATCH, Method::DELETE];
    let sent = ["authorization", "content-type", "idempotency-key", "if-match", "x-request-id"];
    let shown = [
        "etag",
        "idempotency-replayed",
        "location",
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-request-id",
    ];
    CorsLayer::new()
        .allow_origin(settings.allowed_origins.clone())
        .allow_methods(methods)
        .allow_headers(sent.map(HeaderName::from_static))
        .expose_headers(shown.map(HeaderName::from_static))
        .max_age(Duration::from_secs(3600))
}
