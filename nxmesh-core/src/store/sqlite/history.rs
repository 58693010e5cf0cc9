//! What each revision wrote, as rows.

use rusqlite::Connection;
use uuid::Uuid;

use super::rows::key;
use crate::{
    Error, ErrorKind, Result, RevisionNumber,
    gateway::GatewayWrite,
    store::codec::{RevisionRows, WriteRow, corrupt, number, to_write},
    tenancy::WorkspaceId,
};

/// Moves the head from `base` to the revision, and notes what it writes.
pub(super) fn advance(db: &Connection, base: i64, revision: &RevisionRows) -> Result<()> {
    let RevisionRows { workspace_id, number, body, writes } = revision;
    let moved = db
        .prepare_cached("UPDATE workspaces SET head = ?3 WHERE id = ?1 AND head = ?2")?
        .execute((key(workspace_id), base, number))?;
    if moved == 0 {
        return Err(match head(db, *workspace_id)? {
            Some(_) => Error::new(ErrorKind::Stale, "the workspace has moved on"),
            None => Error::not_found("workspace", workspace_id),
        });
    }
    db.prepare_cached("INSERT INTO revisions (workspace_id, number, body) VALUES (?1, ?2, ?3)")?
        .execute((key(workspace_id), number, body))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO writes (workspace_id, number, position, kind, object_id, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, write) in (0_i64..).zip(writes) {
        let WriteRow { kind, object_id, created_at: _, body } = write;
        let id = object_id.as_bytes();
        insert.execute((key(workspace_id), number, position, kind, id, body))?;
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
    let sql = "SELECT kind, object_id, body FROM writes WHERE workspace_id = ?1 AND number > ?2
               ORDER BY number, position";
    writes(db, sql, id, after)
}

/// What was written up to a revision, oldest first.
pub(super) fn until(
    db: &Connection,
    id: WorkspaceId,
    last: RevisionNumber,
) -> Result<Vec<GatewayWrite>> {
    let sql = "SELECT kind, object_id, body FROM writes WHERE workspace_id = ?1 AND number <= ?2
               ORDER BY number, position";
    writes(db, sql, id, last)
}

fn writes(
    db: &Connection,
    sql: &str,
    id: WorkspaceId,
    at: RevisionNumber,
) -> Result<Vec<GatewayWrite>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query((key(&id), number(at.0)?))?;
    let mut writes = Vec::new();
    while let Some(row) = rows.next()? {
        let kind = row.get_ref(0)?.as_str().map_err(corrupt)?;
        let object_id = Uuid::from_bytes(row.get(1)?);
        let body: Option<String> = row.get(2)?;
        writes.push(to_write(kind, object_id, body.as_deref())?);
    }
    Ok(writes)
}
