use axum::extract::State;
use nxmesh_core::Mesh;

use crate::http::ApiError;

/// The process is alive.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The store answers, so requests can be.
pub(super) async fn ready(State(mesh): State<Mesh>) -> Result<&'static str, ApiError> {
    mesh.ready().await?;
    Ok("ok\n")
}
