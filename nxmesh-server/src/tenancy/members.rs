use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{
    Mesh, Page,
    tenancy::{Member, MemberPatch, NewMember, Organization, User},
};

use crate::http::{ApiError, Authenticated, Body, IdPair, IdPath, Made, PageQuery};

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(of): IdPath<Organization>,
    PageQuery(page): PageQuery,
) -> Result<Json<Page<Member>>, ApiError> {
    Ok(Json(mesh.tenancy().members().list(&actor, of, page).await?))
}

pub(super) async fn add(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(of): IdPath<Organization>,
    Body(new): Body<NewMember>,
) -> Result<Made<Member>, ApiError> {
    let added = mesh.tenancy().members().add(&actor, of, new).await?;
    let path = format!("/v1/organizations/{of}/members/{}", added.user_id);
    Ok(Made(added, path))
}

pub(super) async fn update(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPair(of, user): IdPair<Organization, User>,
    Body(patch): Body<MemberPatch>,
) -> Result<Json<Member>, ApiError> {
    Ok(Json(mesh.tenancy().members().update(&actor, of, user, patch).await?))
}

pub(super) async fn remove(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPair(of, user): IdPair<Organization, User>,
) -> Result<StatusCode, ApiError> {
    mesh.tenancy().members().remove(&actor, of, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
