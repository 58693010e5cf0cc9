use axum::{Json, extract::State};
use nxmesh_core::{
    Mesh, Page,
    gateway::{NewRollout, Rollout},
    tenancy::Workspace,
};

use crate::http::{ApiError, Authenticated, Body, Created, IdPath, Object, PageQuery};

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    PageQuery(page): PageQuery,
) -> Result<Json<Page<Rollout>>, ApiError> {
    Ok(Json(mesh.gateway().rollouts().list(&actor, workspace, page).await?))
}

pub(super) async fn start(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    Body(new): Body<NewRollout>,
) -> Result<Created<Rollout>, ApiError> {
    let made = mesh.gateway().rollouts().start(&actor, workspace, new).await?;
    let (tag, path) = (made.etag(), format!("/v1/rollouts/{}", made.id));
    Ok(Created(made, tag, path))
}

pub(super) async fn get(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Rollout>,
) -> Result<Object<Rollout>, ApiError> {
    Ok(shown(mesh.gateway().rollouts().get(&actor, id).await?))
}

pub(super) async fn pause(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Rollout>,
) -> Result<Object<Rollout>, ApiError> {
    Ok(shown(mesh.gateway().rollouts().pause(&actor, id).await?))
}

pub(super) async fn resume(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Rollout>,
) -> Result<Object<Rollout>, ApiError> {
    Ok(shown(mesh.gateway().rollouts().resume(&actor, id).await?))
}

pub(super) async fn abort(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Rollout>,
) -> Result<Object<Rollout>, ApiError> {
    Ok(shown(mesh.gateway().rollouts().abort(&actor, id).await?))
}

fn shown(rollout: Rollout) -> Object<Rollout> {
    let tag = rollout.etag();
    Object(rollout, tag)
}
