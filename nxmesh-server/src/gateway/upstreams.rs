use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{
    Mesh, Page,
    gateway::{NewUpstream, Upstream, checks::UpstreamHealth},
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
) -> Result<Json<Page<Upstream>>, ApiError> {
    Ok(Json(mesh.gateway().upstreams().list(&actor, parent, page).await?))
}

pub(super) async fn create(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(parent): IdPath<Workspace>,
    Body(new): Body<NewUpstream>,
) -> Result<Created<Upstream>, ApiError> {
    let made = mesh.gateway().upstreams().create(&actor, parent, new).await?;
    let (tag, path) = (made.etag(), format!("/v1/upstreams/{}", made.id));
    Ok(Created(made, tag, path))
}

pub(super) async fn get(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Upstream>,
) -> Result<Object<Upstream>, ApiError> {
    let found = mesh.gateway().upstreams().get(&actor, id).await?;
    let tag = found.etag();
    Ok(Object(found, tag))
}

pub(super) async fn health(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Upstream>,
) -> Result<Json<UpstreamHealth>, ApiError> {
    Ok(Json(mesh.gateway().upstreams().health(&actor, id).await?))
}

pub(super) async fn update(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Upstream>,
    Condition(if_match): Condition,
    Patch(patch, _): Patch<NewUpstream>,
) -> Result<Object<Upstream>, ApiError> {
    let changed = mesh.gateway().upstreams().update(&actor, id, &patch, &if_match).await?;
    let tag = changed.etag();
    Ok(Object(changed, tag))
}

pub(super) async fn delete(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Upstream>,
    Condition(if_match): Condition,
) -> Result<StatusCode, ApiError> {
    mesh.gateway().upstreams().delete(&actor, id, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}
