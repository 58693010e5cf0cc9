use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use nxmesh_core::Mesh;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    gateway,
    http::{
        ApiError, RateLimits, Route, Routes,
        limits::{self, Limits},
        probe, request_id,
    },
    tenancy,
};

/// The largest body that is read; a larger one is a 413.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

fn v1() -> Routes {
    tenancy::routes().merge(gateway::routes())
}

/// What there is under `/v1`, and who may use it.
#[must_use]
pub fn routes() -> Vec<Route> {
    v1().into_rules()
}

/// All routes, to be served or nested in a router of your own. Requests are limited as
/// [`RateLimits`] says by default: serve the router with
/// `into_make_service_with_connect_info::<SocketAddr>()`, or all who are not logged in share one limit.
pub fn http(mesh: Mesh) -> Router {
    http_limited(mesh, RateLimits::default())
}

/// The same with other limits.
pub fn http_limited(mesh: Mesh, limits: RateLimits) -> Router {
    let limits = Limits::new(limits);
    Router::new()
        .nest("/v1", v1().into_router())
        .layer(middleware::from_fn_with_state(limits, limits::layer))
        .route("/.well-known/jwks.json", get(tenancy::jwks))
        .route("/healthz", get(probe::alive))
        .route("/readyz", get(probe::ready))
        .fallback(async || ApiError::unknown_path())
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(|_| ApiError::panicked()))
        .layer(middleware::from_fn(request_id::layer))
        .with_state(mesh)
}
