use axum::{Json, extract::State};
use nxmesh_core::{
    Error, Mesh, Page, Revision, RevisionNumber,
    gateway::{RevisionDiff, RevisionState},
    tenancy::Workspace,
};

use crate::http::{ApiError, Authenticated, IdPath, Located, PageQuery, RevisionPath};

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    PageQuery(page): PageQuery,
) -> Result<Json<Page<Revision>>, ApiError> {
    Ok(Json(mesh.gateway().revisions().list(&actor, workspace, page).await?))
}

pub(super) async fn get(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    RevisionPath(workspace, [number]): RevisionPath<1>,
) -> Result<Json<RevisionState>, ApiError> {
    Ok(Json(mesh.gateway().revisions().get(&actor, workspace, number).await?))
}

pub(super) async fn diff(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    RevisionPath(workspace, [from, to]): RevisionPath<2>,
) -> Result<Json<RevisionDiff>, ApiError> {
    Ok(Json(mesh.gateway().revisions().diff(&actor, workspace, from, to).await?))
}

pub(super) async fn restore(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    RevisionPath(workspace, [number]): RevisionPath<1>,
) -> Result<Located<Json<Revision>>, ApiError> {
    let revisions = mesh.gateway().revisions();
    let head: RevisionNumber = revisions.restore(&actor, workspace, number).await?;
    let location = format!("/v1/workspaces/{workspace}/revisions/{head}");
    // It is restored, also if it cannot be shown.
    let state = revisions.get(&actor, workspace, head).await.map_err(Error::undecided)?;
    Ok(Located(Json(state.revision), location))
}
