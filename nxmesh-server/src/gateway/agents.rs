use axum::{Json, extract::State, response::IntoResponse};
use chrono::{DateTime, Utc};
use http::{StatusCode, header};
use nxmesh_core::{
    MergePatch, Mesh, Page,
    gateway::{
        Agent, AgentConfig, AgentId, AgentState, LabelSelector, NewRegistrationToken,
        RegistrationToken, ReloadOutcome,
    },
    tenancy::Workspace,
};
use serde::Serialize;

use crate::http::{ApiError, Authenticated, Body, Condition, IdPath, ListQuery, Object};

#[derive(Serialize)]
struct TokenAnswer {
    token: String,
    agent_id: AgentId,
    expires_at: DateTime<Utc>,
}

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    query: ListQuery,
) -> Result<Json<Page<Agent>>, ApiError> {
    let state = query.get("state", parse_state)?.flatten();
    let selector = query
        .get("label_selector", |text| LabelSelector::parse(text).map_err(|bad| bad.message))?;
    let page = query.page()?;
    Ok(Json(mesh.gateway().agents().list(&actor, workspace, state, selector, page).await?))
}

pub(super) async fn create_token(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    Body(new): Body<NewRegistrationToken>,
) -> Result<impl IntoResponse, ApiError> {
    let RegistrationToken { token, agent_id, expires_at } =
        mesh.gateway().agents().create_token(&actor, workspace, new).await?;
    let location = [(header::LOCATION, format!("/v1/agents/{agent_id}"))];
    let answer = TokenAnswer { token: token.expose().clone(), agent_id, expires_at };
    Ok((StatusCode::CREATED, location, Json(answer)))
}

pub(super) async fn get(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Agent>,
) -> Result<Object<Agent>, ApiError> {
    let found = mesh.gateway().agents().get(&actor, id).await?;
    let tag = found.etag();
    Ok(Object(found, tag))
}

pub(super) async fn update(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Agent>,
    Condition(if_match): Condition,
    Body(patch): Body<MergePatch>,
) -> Result<Object<Agent>, ApiError> {
    let changed = mesh.gateway().agents().update(&actor, id, &patch, &if_match).await?;
    let tag = changed.etag();
    Ok(Object(changed, tag))
}

pub(super) async fn delete(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Agent>,
    Condition(if_match): Condition,
) -> Result<StatusCode, ApiError> {
    mesh.gateway().agents().delete(&actor, id, &if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn reload(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Agent>,
) -> Result<Json<ReloadOutcome>, ApiError> {
    Ok(Json(mesh.gateway().agents().reload(&actor, id).await?))
}

pub(super) async fn config(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Agent>,
) -> Result<Json<AgentConfig>, ApiError> {
    Ok(Json(mesh.gateway().agents().config(&actor, id).await?))
}

/// `None` is any state.
fn parse_state(text: &str) -> Result<Option<AgentState>, String> {
    Ok(Some(match text {
        "all" => return Ok(None),
        "pending" => AgentState::Pending,
        "online" => AgentState::Online,
        "degraded" => AgentState::Degraded,
        "offline" => AgentState::Offline,
        _ => return Err("must be one of all, pending, online, degraded, offline".to_owned()),
    }))
}
