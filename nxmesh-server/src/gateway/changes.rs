use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use nxmesh_core::{
    Mesh,
    gateway::{AppliedChanges, ChangePreview, NewChangeSet},
    tenancy::Workspace,
};
use serde_json::json;

use crate::http::{
    ApiError, Authenticated, Body, IdPath, ListQuery, Located, Shown,
    openapi::{Operation, Output},
};

/// What a change set did, or would do.
pub(super) enum Answer {
    Done(Located<Json<AppliedChanges>>),
    Tried(Shown<ChangePreview>),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Done(answer) => answer.into_response(),
            Self::Tried(answer) => answer.into_response(),
        }
    }
}

impl Output for Answer {
    fn describe(operation: &mut Operation) {
        let done = operation.schemas.refer::<AppliedChanges>();
        let tried = operation.schemas.refer::<ChangePreview>();
        let either = json!({"anyOf": [done, tried]});
        operation.answers(StatusCode::OK, "What it did, or would do.", Some(either), &[]);
    }
}

pub(super) async fn apply(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    query: ListQuery,
    Body(set): Body<NewChangeSet>,
) -> Result<Answer, ApiError> {
    let changes = mesh.gateway().changes();
    if query.only_flag("dry_run")? {
        return Ok(Answer::Tried(Shown(changes.dry_run(&actor, workspace, set).await?)));
    }
    let applied = changes.apply(&actor, workspace, set).await?;
    let location = format!("/v1/workspaces/{workspace}/revisions/{}", applied.revision.number);
    Ok(Answer::Done(Located(Json(applied), location)))
}

pub(super) async fn preview(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(workspace): IdPath<Workspace>,
    Body(set): Body<NewChangeSet>,
) -> Result<Shown<ChangePreview>, ApiError> {
    Ok(Shown(mesh.gateway().changes().preview(&actor, workspace, set).await?))
}
