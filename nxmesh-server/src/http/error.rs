use std::borrow::Cow;

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use nxmesh_core::{Error, ErrorKind, FieldCode, FieldError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// An answer that is an error. Its body is written by the outermost layer, which
/// knows the id of the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ApiError {
    status: u16,
    code: Cow<'static, str>,
    message: String,
    details: Vec<FieldError>,
    /// Whether something may have been changed all the same.
    undecided: bool,
}

/// What every error looks like.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct Envelope<'a> {
    /// What went wrong.
    #[schema(inline)]
    error: Content<'a>,
}

#[derive(Serialize, ToSchema)]
struct Content<'a> {
    /// The sort of error, for programs.
    code: &'a str,
    /// What went wrong, for people.
    message: &'a str,
    /// The `x-request-id` of the answer.
    request_id: &'a str,
    /// What is wrong with which field.
    details: &'a [FieldError],
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            code: Cow::Borrowed(code),
            message: message.into(),
            details: Vec::new(),
            // Of a failure that nobody foresaw nothing is known.
            undecided: status == StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// How this error is answered.
    pub(crate) fn of(error: &Error) -> Self {
        let (status, code) = match error.kind() {
            ErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_ERROR"),
            ErrorKind::Unauthenticated => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "FORBIDDEN"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "CONFLICT"),
            ErrorKind::Precondition => (StatusCode::PRECONDITION_FAILED, "CONFLICT"),
            ErrorKind::Stale | ErrorKind::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE")
            }
            ErrorKind::Corrupt | ErrorKind::Internal | _ => {
                (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
            }
        };
        let undecided = error.is_undecided() || status == StatusCode::INTERNAL_SERVER_ERROR;
        let details = error.fields().to_vec();
        Self { undecided, details, ..Self::new(status, code, error.message()) }
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this path")
    }

    pub(crate) fn wrong_method() -> Self {
        let message = "the method is not allowed here; the allow header names those that are";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "VALIDATION_ERROR", message)
    }

    pub(crate) fn too_large() -> Self {
        let message = format!("the body is larger than {} bytes", super::MAX_BODY_BYTES);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "VALIDATION_ERROR", message)
    }

    pub(crate) fn too_many(seconds: u64) -> Self {
        let message = format!("too many requests: come again in {seconds} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message)
    }

    pub(crate) fn panicked() -> Self {
        let message = "the server failed; its log says how";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }

    pub(super) fn under_way() -> Self {
        let message = "the same request is under way, or was cut off less than a minute ago";
        let field = FieldError {
            field: "Idempotency-Key".to_owned(),
            message: "is in use".to_owned(),
            code: FieldCode::Duplicate,
        };
        Self { details: vec![field], ..Self::new(StatusCode::CONFLICT, "CONFLICT", message) }
    }

    /// Whether it is certain that nothing was changed.
    pub(super) const fn changed_nothing(&self) -> bool {
        !self.undecided
    }

    pub(crate) fn unreadable_body() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_ERROR", "the body broke off")
    }

    pub(crate) fn stale() -> Self {
        Self::of(&Error::new(ErrorKind::Precondition, ""))
    }

    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    pub(crate) fn needs_upgrade() -> Self {
        let message = "this is a WebSocket: send `Connection: upgrade` and `Upgrade: websocket`";
        Self::new(StatusCode::UPGRADE_REQUIRED, "VALIDATION_ERROR", message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        // Each was one when it was made.
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body, as JSON.
    pub(crate) fn body(&self, request_id: &str) -> Value {
        serde_json::to_value(self.envelope(request_id)).unwrap_or_default()
    }

    /// The body, now that the id of the request is known.
    pub(crate) fn envelope<'a>(&'a self, request_id: &'a str) -> Envelope<'a> {
        let Self { status: _, code, message, details, undecided: _ } = self;
        Envelope { error: Content { code, message, request_id, details } }
    }

    /// Writes the body, now that the id of the request is known.
    pub(super) fn write(&self, request_id: &str, mut response: Response) -> Response {
        let (parts, body) = Json(self.envelope(request_id)).into_response().into_parts();
        response.headers_mut().extend(parts.headers);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = body;
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let answer = Self::of(&error);
        if answer.status().is_server_error() {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, source, "request failed");
        }
        answer
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        let status = StatusCode::from_u16(self.status);
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if response.status() == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
