use axum::{
    Router,
    routing::{get, post},
};
use nxmesh_core::Mesh;

use super::{auth, organizations, workspaces};

/// The routes of the area.
pub(crate) fn routes() -> Router<Mesh> {
    Router::new()
        .route("/auth/login", post(auth::login))
        .route("/auth/refresh", post(auth::refresh))
        .route("/organizations", get(organizations::list).post(organizations::create))
        .route(
            "/organizations/{id}",
            get(organizations::get).patch(organizations::update).delete(organizations::delete),
        )
        .route("/organizations/{id}/workspaces", get(workspaces::list).post(workspaces::create))
        .route(
            "/workspaces/{id}",
            get(workspaces::get).patch(workspaces::update).delete(workspaces::delete),
        )
}
