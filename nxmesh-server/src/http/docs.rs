//! The rendered reference: Swagger UI, which is in the binary, reading our document.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use nxmesh_core::Mesh;
use utoipa_swagger_ui::{Config, serve};

use super::ApiError;

/// Nothing is loaded from elsewhere. Swagger UI styles its elements in place, and draws by data URLs.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// The reference, under `/docs/`. Its paths are relative, so that it can be nested.
pub(super) fn routes() -> Router<Mesh> {
    let to_folder = || async { (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "docs/")]) };
    Router::new()
        .route("/docs", get(to_folder))
        .route("/docs/", get(|| async { file("") }))
        .route("/docs/{*path}", get(|Path(path): Path<String>| async move { file(&path) }))
}

fn file(path: &str) -> Response {
    // It would have a stranger's server validate the document, unless told not to.
    static CONFIG: LazyLock<Arc<Config<'_>>> =
        LazyLock::new(|| Arc::new(Config::from("../v1/openapi.json").validator_url("none")));
    match serve(path, CONFIG.clone()) {
        Ok(Some(file)) => {
            let headers = [
                (header::CONTENT_TYPE, file.content_type.as_str()),
                (header::CONTENT_SECURITY_POLICY, POLICY),
            ];
            (headers, file.bytes.into_owned()).into_response()
        }
        Ok(None) => ApiError::unknown_path().into_response(),
        Err(error) => {
            tracing::error!(%error, path, "cannot serve the reference");
            ApiError::panicked().into_response()
        }
    }
}
