use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{
    Mesh, Page,
    tenancy::{ApiKey, NewApiKey, OrganizationId},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{ApiError, Authenticated, Body, IdPath, ListQuery, Made};

/// A new key with its text, which nobody is shown again.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedApiKey)]
pub(super) struct Answer {
    #[serde(flatten)]
    api_key: ApiKey,
    /// What it is used as.
    key: String,
}

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    query: ListQuery,
) -> Result<Json<Page<ApiKey>>, ApiError> {
    let parse = |text: &str| text.parse().map_err(|_| "must be the id of one".to_owned());
    let of: OrganizationId = query.required("organization_id", parse)?;
    Ok(Json(mesh.tenancy().api_keys().list(&actor, of, query.page()?).await?))
}

pub(super) async fn create(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    Body(new): Body<NewApiKey>,
) -> Result<Made<Answer>, ApiError> {
    let (api_key, text) = mesh.tenancy().api_keys().create(&actor, new).await?;
    let path = format!("/v1/api-keys/{}", api_key.id);
    Ok(Made(Answer { api_key, key: text.expose().clone() }, path))
}

pub(super) async fn revoke(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<ApiKey>,
) -> Result<StatusCode, ApiError> {
    mesh.tenancy().api_keys().revoke(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
