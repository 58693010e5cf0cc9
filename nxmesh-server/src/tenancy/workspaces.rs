use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{
    Mesh, Page,
    tenancy::{Cascade, NewWorkspace, Organization, Workspace},
};

use crate::http::{
    ApiError, Authenticated, Body, Condition, Created, IdPath, ListQuery, Object, PageQuery, Patch,
};

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(parent): IdPath<Organization>,
    PageQuery(page): PageQuery,
) -> Result<Json<Page<Workspace>>, ApiError> {
    Ok(Json(mesh.tenancy().workspaces().list(&actor, parent, page).await?))
}

pub(super) async fn create(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(parent): IdPath<Organization>,
    Body(new): Body<NewWorkspace>,
) -> Result<Created<Workspace>, ApiError> {
    let made = mesh.tenancy().workspaces().create(&actor, parent, new).await?;
    let (tag, path) = (made.etag(), format!("/v1/workspaces/{}", made.id));
    Ok(Created(made, tag, path))
}

pub(super) async fn get(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Workspace>,
) -> Result<Object<Workspace>, ApiError> {
    let found = mesh.tenancy().workspaces().get(&actor, id).await?;
    let tag = found.etag();
    Ok(Object(found, tag))
}

pub(super) async fn update(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Workspace>,
    Condition(if_match): Condition,
    Patch(patch, _): Patch<NewWorkspace>,
) -> Result<Object<Workspace>, ApiError> {
    let changed = mesh.tenancy().workspaces().update(&actor, id, &patch, &if_match).await?;
    let tag = changed.etag();
    Ok(Object(changed, tag))
}

pub(super) async fn delete(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Workspace>,
    Condition(if_match): Condition,
    query: ListQuery,
) -> Result<StatusCode, ApiError> {
    let cascade = match query.only_flag("cascade")? {
        true => Cascade::Children,
        false => Cascade::Refuse,
    };
    mesh.tenancy().workspaces().delete(&actor, id, &if_match, cascade).await?;
    Ok(StatusCode::NO_CONTENT)
}
