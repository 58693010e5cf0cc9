use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use nxmesh_core::{
    Mesh,
    gateway::{ChangePreview, NewChangeSet},
    tenancy::Workspace,
};

use crate::http::{ApiError, Authenticated, Body, IdPath, ListQuery, Shown};

pub(super) async fn apply(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    query: ListQuery,
    Body(set): Body<NewChangeSet>,
) -> Result<Response, ApiError> {
    let changes = mesh.gateway().changes();
    if query.only_flag("dry_run")? {
        return Ok(Shown(changes.dry_run(&actor, workspace, set).await?).into_response());
    }
    let applied = changes.apply(&actor, workspace, set).await?;
    let location = format!("/v1/workspaces/{workspace}/revisions/{}", applied.revision.number);
    Ok(([(header::LOCATION, location)], Json(applied)).into_response())
}

pub(super) async fn preview(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    Body(set): Body<NewChangeSet>,
) -> Result<Shown<ChangePreview>, ApiError> {
    Ok(Shown(mesh.gateway().changes().preview(&actor, workspace, set).await?))
}
