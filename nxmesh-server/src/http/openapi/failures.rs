//! What goes wrong, described once for all operations, by real errors.

use nxmesh_core::{Error, ErrorKind, FieldCode};
use serde_json::{Map, Value, json};

use super::headers;
use crate::http::ApiError;

/// An answer that is an error.
struct Failure {
    name: &'static str,
    description: &'static str,
    example: ApiError,
}

fn failures() -> Vec<Failure> {
    let core = |kind: ErrorKind, message: &str| ApiError::of(&Error::new(kind, message));
    let id = "770e8400-e29b-41d4-a716-446655440002";
    let forbidden = "this needs the role operator, and you have the role viewer here";
    let conflict = "the slug is taken";
    let stale = "the object was changed in the meantime: it is at \"7\" now";
    let failure = |name, description, example| Failure { name, description, example };
    vec![
        failure(
            "Unauthorized",
            "The access token or API key is missing, not valid, or has expired.",
            ApiError::unauthorized("log in, and send `Authorization: Bearer ACCESS_TOKEN`"),
        ),
        failure(
            "Forbidden",
            "You may see the object, but not do this to it.",
            core(ErrorKind::Forbidden, forbidden),
        ),
        failure(
            "NotFound",
            "There is no such object, or you may not know of it.",
            ApiError::of(&Error::not_found("agent", id)),
        ),
        failure(
            "Conflict",
            "The change collides with what is there.",
            core(ErrorKind::Conflict, conflict),
        ),
        failure(
            "PreconditionFailed",
            "The object is in none of the states that `If-Match` names.",
            core(ErrorKind::Precondition, stale),
        ),
        failure("PayloadTooLarge", "The body is too large.", ApiError::too_large()),
        failure(
            "UnprocessableContent",
            "The input is not valid; `details` names each field, and what is wrong with it.",
            ApiError::of(&Error::invalid_field(
                "locations[1].custom_headers[0].name",
                FieldCode::Forbidden,
                "is managed by nginx itself",
            )),
        ),
        failure(
            "UpgradeRequired",
            "The request does not ask for a WebSocket.",
            ApiError::needs_upgrade(),
        ),
        failure("TooManyRequests", "Too many requests came.", ApiError::too_many(3)),
        failure(
            "InternalServerError",
            "The server failed; its log says how.",
            core(ErrorKind::Internal, "the server failed; its log says how"),
        ),
        failure(
            "ServiceUnavailable",
            "Something that is needed is not there right now; try again later.",
            core(ErrorKind::Unavailable, "the database does not answer"),
        ),
    ]
}

/// All of them, by name.
pub(super) fn responses() -> Value {
    let describe = |failure: Failure| {
        let Failure { name, description, example } = failure;
        let own = match example.status().as_u16() {
            401 => Some("www-authenticate"),
            429 => Some("retry-after"),
            _ => None,
        };
        let names = [headers::REQUEST_ID].into_iter().chain(headers::LIMITS).chain(own);
        let response = json!({
            "description": description,
            "headers": headers::refer(names),
            "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/Error"},
                "example": example.body("0c5a1ba6-4f2a-4a3f-8e5e-0f2f6d0f7a51"),
            }},
        });
        (name.to_owned(), response)
    };
    Value::Object(failures().into_iter().map(describe).collect::<Map<_, _>>())
}

/// The one with this status, and when it is answered, if that is not always the same.
pub(super) fn refer(status: u16, when: Option<&str>) -> Value {
    let found = failures().into_iter().find(|it| it.example.status().as_u16() == status);
    let name = found.map_or("InternalServerError", |it| it.name);
    let mut reference = json!({"$ref": format!("#/components/responses/{name}")});
    if let Some(when) = when {
        reference["description"] = when.into();
    }
    reference
}
