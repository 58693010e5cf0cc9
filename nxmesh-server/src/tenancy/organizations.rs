use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{
    Mesh, Page,
    tenancy::{Cascade, NewOrganization, Organization},
};

use crate::http::{
    ApiError, Authenticated, Body, Condition, Created, IdPath, ListQuery, Object, PageQuery, Patch,
};

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    PageQuery(page): PageQuery,
) -> Result<Json<Page<Organization>>, ApiError> {
    Ok(Json(mesh.tenancy().organizations().list(&actor, page).await?))
}

pub(super) async fn create(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    Body(new): Body<NewOrganization>,
) -> Result<Created<Organization>, ApiError> {
    let made = mesh.tenancy().organizations().create(&actor, new).await?;
    let (tag, path) = (made.etag(), format!("/v1/organizations/{}", made.id));
    Ok(Created(made, tag, path))
}

pub(super) async fn get(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Organization>,
) -> Result<Object<Organization>, ApiError> {
    let found = mesh.tenancy().organizations().get(&actor, id).await?;
    let tag = found.etag();
    Ok(Object(found, tag))
}

pub(super) async fn update(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Organization>,
    Condition(if_match): Condition,
    Patch(patch, _): Patch<NewOrganization>,
) -> Result<Object<Organization>, ApiError> {
    let changed = mesh.tenancy().organizations().update(&actor, id, &patch, &if_match).await?;
    let tag = changed.etag();
    Ok(Object(changed, tag))
}

pub(super) async fn delete(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Organization>,
    Condition(if_match): Condition,
    query: ListQuery,
) -> Result<StatusCode, ApiError> {
    let cascade = match query.only_flag("cascade")? {
        true => Cascade::Children,
        false => Cascade::Refuse,
    };
    mesh.tenancy().organizations().delete(&actor, id, &if_match, cascade).await?;
    Ok(StatusCode::NO_CONTENT)
}
