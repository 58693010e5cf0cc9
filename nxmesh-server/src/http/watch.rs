use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http::HeaderValue;
use nxmesh_core::Actor;
use tracing::{Instrument, Level, field::Empty};

use super::{
    ApiError,
    metrics::Metrics,
    request_id::{REQUEST_ID, RequestId},
};

/// The target of the line for each request: `--log info,nxmesh::request=debug`.
const LINE: &str = "nxmesh::request";

/// Names each request, in its answer and in the log, counts it, and says in a line what became
/// of it. Writes the body of errors, which contains its name; a panic is one of them, and ends
/// nothing but its request.
pub(super) async fn layer(
    State(metrics): State<Metrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let (began, _in_flight) = (Instant::now(), metrics.begin());
    let id = RequestId::of(request.headers());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let span =
        tracing::info_span!("request", request_id = %id.0, user_id = Empty, api_key_id = Empty);
    let route = request.extensions().get::<MatchedPath>().cloned();
    request.extensions_mut().insert(id.clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone());
    let mut response = answered.await.unwrap_or_else(|_| ApiError::panicked().into_response());
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = error.write(&id.0, response);
    }
    // It is visible ASCII either way.
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let (status, took) = (response.status(), began.elapsed());
    metrics.answered(&method, route, status, took);
    let (status, duration_ms) = (status.as_u16(), took.as_secs_f64() * 1000.0);
    let path = uri.path();
    span.in_scope(
        || tracing::debug!(target: LINE, %method, path, route, status, duration_ms, "answered"),
    );
    response
}

/// Notes who asks, if there is to be a line.
pub(super) fn note_actor(actor: &Actor) {
    if !tracing::enabled!(target: LINE, Level::DEBUG) {
        return;
    }
    let span = tracing::Span::current();
    span.record("user_id", tracing::field::display(actor.user_id()));
    if let Some(key) = actor.api_key() {
        span.record("api_key_id", tracing::field::display(key));
    }
}
