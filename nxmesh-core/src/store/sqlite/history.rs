//! What each revision wrote, as rows.

use std::sync::Arc;

use rusqlite::Connection;
use uuid::Uuid;

use super::{
    error::corrupt,
    rows::{from_body, key, number, to_body},
};
use crate::{
    Error, ErrorKind, Id, Result, Revision, RevisionNumber, gateway::GatewayWrite,
    tenancy::WorkspaceId,
};

/// Moves the head from `base` to `revision`, and notes what it writes.
pub(super) fn advance(
    db: &Connection,
    base: RevisionNumber,
    revision: &Revision,
    writes: &[GatewayWrite],
) -> Result<()> {
    let workspace = revision.workspace_id;
    let moved = db
        .prepare_cached("UPDATE workspaces SET head = ?3 WHERE id = ?1 AND head = ?2")?
        .execute((key(&workspace), number(base.0)?, number(revision.number.0)?))?;
    if moved == 0 {
        return Err(match head(db, workspace)? {
            Some(_) => Error::new(ErrorKind::Stale, "the workspace has moved on"),
            None => Error::not_found("workspace", workspace),
        });
    }
    db.prepare_cached("INSERT INTO revisions (workspace_id, number, body) VALUES (?1, ?2, ?3)")?
        .execute((key(&workspace), number(revision.number.0)?, to_body(revision)?))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO writes (workspace_id, number, position, kind, object_id, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, write) in (0_i64..).zip(writes) {
        let Row { kind, object_id, body } = row(workspace, write)?;
        insert.execute((
            key(&workspace),
            number(revision.number.0)?,
            position,
            kind,
            object_id.as_bytes(),
            body,
        ))?;
    }
    Ok(())
}

/// The head of a workspace.
pub(super) fn head(db: &Connection, id: WorkspaceId) -> Result<Option<RevisionNumber>> {
    let mut statement = db.prepare_cached("SELECT head FROM workspaces WHERE id = ?1")?;
    let mut rows = statement.query([key(&id)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let head: i64 = row.get(0)?;
    Ok(Some(RevisionNumber(u64::try_from(head).map_err(corrupt)?)))
}

/// What was written after a revision, oldest first.
pub(super) fn since(
    db: &Connection,
    id: WorkspaceId,
    after: RevisionNumber,
) -> Result<Vec<GatewayWrite>> {
    let mut statement = db.prepare_cached(
        "SELECT kind, object_id, body FROM writes WHERE workspace_id = ?1 AND number > ?2 ORDER BY number, position",
    )?;
    let mut rows = statement.query((key(&id), number(after.0)?))?;
    let mut writes = Vec::new();
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        let object_id: [u8; 16] = row.get(1)?;
        writes.push(write(&Row {
            kind: &kind,
            object_id: Uuid::from_bytes(object_id),
            body: row.get(2)?,
        })?);
    }
    Ok(writes)
}

struct Row<'a> {
    kind: &'a str,
    object_id: Uuid,
    body: Option<String>,
}

const SETTINGS: &str = "settings";
const VIRTUAL_HOST: &str = "virtual_host";
const UPSTREAM: &str = "upstream";
const AGENT: &str = "agent";

fn row(workspace: WorkspaceId, write: &GatewayWrite) -> Result<Row<'static>> {
    let (kind, object_id, body) = match write {
        GatewayWrite::PutSettings(settings) => {
            (SETTINGS, *workspace.as_uuid(), Some(to_body(settings)?))
        }
        GatewayWrite::PutVirtualHost(host) => {
            (VIRTUAL_HOST, *host.id.as_uuid(), Some(to_body(host)?))
        }
        GatewayWrite::DeleteVirtualHost(id) => (VIRTUAL_HOST, *id.as_uuid(), None),
        GatewayWrite::PutUpstream(upstream) => {
            (UPSTREAM, *upstream.id.as_uuid(), Some(to_body(upstream)?))
        }
        GatewayWrite::DeleteUpstream(id) => (UPSTREAM, *id.as_uuid(), None),
        GatewayWrite::PutAgent(agent) => (AGENT, *agent.id.as_uuid(), Some(to_body(agent)?)),
        GatewayWrite::DeleteAgent(id) => (AGENT, *id.as_uuid(), None),
    };
    Ok(Row { kind, object_id, body })
}

fn write(row: &Row<'_>) -> Result<GatewayWrite> {
    Ok(match (row.kind, &row.body) {
        (SETTINGS, Some(body)) => GatewayWrite::PutSettings(Arc::new(from_body(body)?)),
        (VIRTUAL_HOST, Some(body)) => GatewayWrite::PutVirtualHost(Arc::new(from_body(body)?)),
        (VIRTUAL_HOST, None) => GatewayWrite::DeleteVirtualHost(Id::from_uuid(row.object_id)),
        (UPSTREAM, Some(body)) => GatewayWrite::PutUpstream(Arc::new(from_body(body)?)),
        (UPSTREAM, None) => GatewayWrite::DeleteUpstream(Id::from_uuid(row.object_id)),
        (AGENT, Some(body)) => GatewayWrite::PutAgent(Arc::new(from_body(body)?)),
        (AGENT, None) => GatewayWrite::DeleteAgent(Id::from_uuid(row.object_id)),
        (kind, _) => {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("the history has an unknown kind of row, {kind}"),
            ));
        }
    })
}
