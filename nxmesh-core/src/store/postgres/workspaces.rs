//! Changes of workspaces.

use std::sync::Arc;

use super::{
    PostgresStore,
    error::constraint,
    events::bind_trail,
    rows::key,
    tenancy::{conflict, done},
};
use crate::{
    Error, ErrorKind, Result, Revision, RevisionNumber,
    gateway::GatewayWrite,
    store::{
        codec::{TrailRows, WriteRow, micros, number, to_body},
        slug_taken,
    },
    tenancy::{Cascade, Workspace, WorkspaceId},
};

impl PostgresStore {
    pub(super) async fn create_workspace(
        &self,
        workspace: &Workspace,
        revision: Option<&Revision>,
        trail: &TrailRows,
    ) -> Result<()> {
        let settings = GatewayWrite::PutSettings(Arc::new(workspace.settings.clone()));
        let write = WriteRow::of(workspace.id, &settings)?;
        let statement = sqlx::query(
            "WITH made AS (
                 INSERT INTO workspaces (id, organization_id, slug, head, revision, created_at, body)
                 VALUES ($1, $2, $3, $6, $6, $4, $5) RETURNING id
             ), revision AS (
                 INSERT INTO revisions (workspace_id, number, body)
                 SELECT id, $6, $7 FROM made WHERE $7 IS NOT NULL
             ), write AS (
                 INSERT INTO writes (workspace_id, number, position, kind, object_id, body)
                 SELECT id, $6, 0, $8, id, $9 FROM made WHERE $7 IS NOT NULL
             )
             SELECT record_trail($10, $11) FROM made",
        );
        let statement = statement
            .bind(key(workspace.id))
            .bind(key(workspace.organization_id))
            .bind(workspace.slug.as_str())
            .bind(micros(workspace.created_at))
            .bind(to_body(workspace)?)
            .bind(revision.map_or(Ok(0), |it| number(it.number.0))?)
            .bind(revision.map(to_body).transpose()?)
            .bind(write.kind)
            .bind(write.body);
        let made = self.database.change(bind_trail(statement, trail)?).await;
        made.map(|_| ()).map_err(|error| match constraint(&error) {
            Some("workspaces_organization_id_fkey") => {
                Error::not_found("organization", workspace.organization_id)
            }
            _ => workspace_taken(error, workspace),
        })
    }

    pub(super) async fn update_workspace(
        &self,
        workspace: &Workspace,
        base: RevisionNumber,
        revision: &Revision,
        trail: &TrailRows,
    ) -> Result<()> {
        let settings = GatewayWrite::PutSettings(Arc::new(workspace.settings.clone()));
        let write = WriteRow::of(workspace.id, &settings)?;
        let statement = sqlx::query(include_str!("sql/update_workspace.sql"))
            .bind(key(workspace.id))
            .bind(number(base.0)?)
            .bind(number(revision.number.0)?)
            .bind(workspace.slug.as_str())
            .bind(to_body(workspace)?)
            .bind(to_body(revision)?)
            .bind(write.kind)
            .bind(write.body)
            .bind(number(workspace.revision.0)?);
        let changed = self.database.change(bind_trail(statement, trail)?).await;
        let changed = changed.map_err(|error| workspace_taken(error, workspace))?;
        done(&changed, "workspace", workspace.id)?;
        self.moved(workspace.id, Some(revision.number));
        Ok(())
    }

    pub(super) async fn delete_workspace(
        &self,
        id: WorkspaceId,
        base: RevisionNumber,
        cascade: Cascade,
        trail: &TrailRows,
    ) -> Result<()> {
        let statement = sqlx::query(include_str!("sql/delete_workspace.sql"))
            .bind(key(id))
            .bind(number(base.0)?)
            .bind(cascade == Cascade::Children);
        let deleted = self.database.change(bind_trail(statement, trail)?).await;
        let deleted = deleted.map_err(|error| match (constraint(&error), cascade) {
            (Some("agents_workspace_id_fkey"), Cascade::Refuse) => {
                conflict("the workspace has agents")
            }
            // One was added while they went.
            (Some("agents_workspace_id_fkey"), Cascade::Children) => {
                Error::new(ErrorKind::Stale, "the workspace has moved on")
            }
            _ => error,
        })?;
        done(&deleted, "workspace", id)?;
        self.moved(id, None);
        Ok(())
    }
}

fn workspace_taken(error: Error, workspace: &Workspace) -> Error {
    match constraint(&error) {
        Some("workspaces_organization_id_slug_key") => {
            slug_taken("a workspace of the organization", workspace.slug.as_str())
        }
        _ => error,
    }
}
