use axum::{body::Body, response::Response};
use http::{HeaderValue, header};
use serde::Serialize;

/// An answer of JSON, as the protocols have it: without a charset.
pub(super) fn json(body: &impl Serialize) -> Response {
    // Nothing that is answered has keys that are no text, which is all that can fail.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
