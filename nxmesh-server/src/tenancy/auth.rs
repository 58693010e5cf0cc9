use axum::{Json, extract::State};
use nxmesh_core::{Mesh, Secret, tenancy::auth::Tokens};
use serde::{Deserialize, Serialize};

use crate::http::{ApiError, Body};

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
