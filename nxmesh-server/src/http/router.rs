use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use nxmesh_core::Mesh;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    gateway,
    http::{ApiError, Route, Routes, probe, request_id},
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

/// All routes, to be served or nested in a router of your own.
pub fn http(mesh: Mesh) -> Router {
    Router::new()
        .nest("/v1", v1().into_router())
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
