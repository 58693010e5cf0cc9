use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderName, header};
use serde_json::{Map, Value, json};

use super::{failures, headers, links, schemas::Schemas};
use crate::http::{error::Envelope, router};

/// The OpenAPI document (3.1) of all routes.
#[must_use]
pub fn document() -> Value {
    let (mut paths, mut schemas) = (Map::new(), Schemas::default());
    for entry in router::all().into_entries() {
        let method = entry.place().method.as_str().to_ascii_lowercase();
        let operations = paths.entry(entry.place().path.clone()).or_insert_with(|| json!({}));
        let (written, operation) = entry.write();
        operations[method] = written;
        schemas.extend(operation.schemas);
    }
    links::add(&mut paths);
    schemas.refer::<Envelope<'_>>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "NxMesh",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "tags": [
            {"name": "tenancy", "description": "Logins, organizations, members, workspaces, API keys."},
            {"name": "gateway", "description": "Agents, virtual hosts, upstreams, revisions."},
            {"name": "events", "description": "What happens, as it happens."},
            {"name": "server", "description": "The server itself."},
        ],
        "security": [{"access_token": []}, {"api_key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": failures::responses(),
            "headers": headers::headers(),
            "parameters": {"x-request-id": {
                "name": "x-request-id",
                "in": "header",
                "description": "Names the request, if it is 1 to 128 visible ASCII characters.",
                "schema": {"type": "string"},
            }},
            "securitySchemes": {
                "access_token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token from `POST /v1/auth/login`.",
                },
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key from `POST /v1/api-keys`.",
                },
            },
        },
    })
}

const ABOUT: &str = "The control plane of a fleet of nginx.\n\n\
    Bodies are JSON; timestamps RFC 3339 in UTC; ids UUIDs. Fields that are not described are \
    refused. `PATCH` takes a merge patch (RFC 7396). Objects come with an `ETag`, which `If-Match` \
    makes a condition of a change. Lists come in pages, in order of creation. Every error has the \
    same form, and every answer the `x-request-id` that the log has.";

pub(crate) async fn openapi() -> ([(HeaderName, &'static str); 1], Bytes) {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}
