use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{Mesh, Secret, tenancy::auth::Tokens};
use serde::{Deserialize, Serialize};

use crate::http::{ApiError, Authenticated, Body, LoginAllowed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    email: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    refresh_token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    current_password: String,
    new_password: String,
}

#[derive(Serialize)]
pub(super) struct Answer {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
    token_type: &'static str,
}

impl From<Tokens> for Answer {
    fn from(tokens: Tokens) -> Self {
        let Tokens { access_token, refresh_token, expires_in } = tokens;
        Self {
            access_token: access_token.expose().clone(),
            refresh_token: refresh_token.expose().clone(),
            expires_in,
            token_type: "Bearer",
        }
    }
}

pub(super) async fn login(
    State(mesh): State<Mesh>,
    _: LoginAllowed,
    Body(login): Body<Login>,
) -> Result<Json<Answer>, ApiError> {
    let Login { email, password } = login;
    let tokens = mesh.tenancy().auth().login(&email, Secret::new(password)).await?;
    Ok(Json(tokens.into()))
}

pub(super) async fn refresh(
    State(mesh): State<Mesh>,
    Body(refresh): Body<Refresh>,
) -> Result<Json<Answer>, ApiError> {
    let tokens = mesh.tenancy().auth().refresh(&refresh.refresh_token).await?;
    Ok(Json(tokens.into()))
}

pub(super) async fn logout(
    State(mesh): State<Mesh>,
    Body(refresh): Body<Refresh>,
) -> Result<StatusCode, ApiError> {
    mesh.tenancy().auth().logout(&refresh.refresh_token).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn change_password(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    let PasswordChange { current_password, new_password } = change;
    let (current, new) = (Secret::new(current_password), Secret::new(new_password));
    mesh.tenancy().auth().change_password(&actor, current, new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What others check access tokens with.
pub(crate) async fn jwks(State(mesh): State<Mesh>) -> Json<serde_json::Value> {
    Json(mesh.tenancy().auth().jwks())
}
