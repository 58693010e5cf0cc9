use axum::{Json, extract::State};
use http::StatusCode;
use nxmesh_core::{Mesh, Secret, tenancy::auth::Tokens};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::{ApiError, Authenticated, Body, LoginAllowed};

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// The e-mail address of a user.
    email: String,
    /// Their password.
    password: String,
}

/// A login that goes on, or ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// The last one that was answered.
    refresh_token: String,
}

/// A password for another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    /// The one that is good now.
    current_password: String,
    /// The one that will be.
    new_password: String,
}

/// What proves who is logged in.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(super) struct Answer {
    /// What to send as `Authorization: Bearer`.
    access_token: String,
    /// What gets the next ones, once.
    refresh_token: String,
    /// How many seconds the access token is good for.
    expires_in: i64,
    /// `Bearer`.
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

/// A JSON Web Key Set (RFC 7517).
#[derive(Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub(crate) struct KeySet(serde_json::Value);

/// What others check access tokens with.
pub(crate) async fn jwks(State(mesh): State<Mesh>) -> Json<KeySet> {
    Json(KeySet(mesh.tenancy().auth().jwks()))
}
