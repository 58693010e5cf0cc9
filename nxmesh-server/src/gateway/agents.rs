use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use nxmesh_core::{
    Mesh, Page,
    gateway::{
        Agent, AgentConfig, AgentId, AgentQuery, AgentState, LabelSelector, NewAgent,
        NewRegistrationToken, RegistrationToken, ReloadOutcome, drift::DriftDetails,
    },
    tenancy::Workspace,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{
    ApiError, Authenticated, Body, Condition, IdPath, ListQuery, Made, Object, Patch,
};

/// What lets one agent in, once; it is shown only here.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistrationToken)]
pub(super) struct TokenAnswer {
    /// What the agent registers with.
    token: String,
    /// The agent that it will be.
    agent_id: AgentId,
    /// Until when it works.
    expires_at: DateTime<Utc>,
}

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    query: ListQuery,
) -> Result<Json<Page<Agent>>, ApiError> {
    let state = query.get("state", StateFilter::parse)?.and_then(StateFilter::state);
    let selector = query
        .get("label_selector", |text| LabelSelector::parse(text).map_err(|bad| bad.message))?;
    let lagging = query.get("lagging", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    })?;
    let page = query.page()?;
    let which = AgentQuery { state, label_selector: selector, lagging };
    Ok(Json(mesh.gateway().agents().list(&actor, workspace, which, page).await?))
}

pub(super) async fn create_token(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    Body(new): Body<NewRegistrationToken>,
) -> Result<Made<TokenAnswer>, ApiError> {
    let RegistrationToken { token, agent_id, expires_at } =
        mesh.gateway().agents().create_token(&actor, workspace, new).await?;
    let answer = TokenAnswer { token: token.expose().clone(), agent_id, expires_at };
    Ok(Made(answer, format!("/v1/agents/{agent_id}")))
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
    Patch(patch, _): Patch<NewAgent>,
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

pub(super) async fn drift(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(id): IdPath<Agent>,
) -> Result<Json<DriftDetails>, ApiError> {
    Ok(Json(mesh.gateway().agents().drift(&actor, id).await?))
}

/// Agents in which state to list.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum StateFilter {
    All,
    Pending,
    Online,
    Degraded,
    Offline,
}

impl StateFilter {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "all" => Self::All,
            "pending" => Self::Pending,
            "online" => Self::Online,
            "degraded" => Self::Degraded,
            "offline" => Self::Offline,
            _ => return Err("must be one of all, pending, online, degraded, offline".to_owned()),
        })
    }

    const fn state(self) -> Option<AgentState> {
        match self {
            Self::All => None,
            Self::Pending => Some(AgentState::Pending),
            Self::Online => Some(AgentState::Online),
            Self::Degraded => Some(AgentState::Degraded),
            Self::Offline => Some(AgentState::Offline),
        }
    }
}
