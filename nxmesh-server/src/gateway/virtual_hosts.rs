use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{
    Mesh, Page,
    gateway::{NewVirtualHost, VirtualHost, VirtualHostStatus},
    tenancy::Workspace,
};

use crate::http::{
    ApiError, Authenticated, Body, Condition, Created, IdPath, Object, PageQuery, Patch,
};

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(parent): IdPath<Workspace>,
    PageQuery(page): PageQuery,
) -> Result<Json<Page<VirtualHost>>, ApiError> {
    Ok(Json(mesh.gateway().virtual_hosts().list(&actor, parent, page).await?))
}

pub(super) async fn create(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(parent): IdPath<Workspace>,
    Body(new): Body<NewVirtualHost>,
) -> Result<Created<VirtualHost>, ApiError> {
    let made = mesh.gateway().virtual_hosts().create(&actor, parent, new).await?;
    let (tag, path) = (made.etag(), format!("/v1/virtual-hosts/{}", made.id));
    Ok(Created(made, tag, path))
}

pub(super) async fn get(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<VirtualHost>,
) -> Result<Object<VirtualHost>, ApiError> {
    let found = mesh.gateway().virtual_hosts().get(&actor, id).await?;
    let tag = found.etag();
    Ok(Object(found, tag))
}

pub(super) async fn status(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<VirtualHost>,
    PageQuery(page): PageQuery,
) -> Result<Json<Page<VirtualHostStatus>>, ApiError> {
    Ok(Json(mesh.gateway().virtual_hosts().status(&actor, id, page).await?))
}

pub(super) async fn update(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<VirtualHost>,
    Condition(if_match): Condition,
    Patch(patch, _): Patch<NewVirtualHost>,
) -> Result<Object<VirtualHost>, ApiError> {
    let changed = mesh.gateway().virtual_hosts().update(&actor, id, &patch, &if_match).await?;
    let tag = changed.etag();
    Ok(Object(changed, tag))
}

pub(super) async fn delete(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<VirtualHost>,
    Condition(if_match): Condition,
) -> Result<StatusCode, ApiError> {
    mesh.gateway().virtual_hosts().delete(&actor, id, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}
