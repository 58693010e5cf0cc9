//! What each revision wrote, as rows.

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::{rollouts, rows::key};
use crate::{
    Error, ErrorKind, Result, RevisionNumber,
    gateway::GatewayWrite,
    store::{
        TOGETHER,
        codec::{RevisionRows, WriteRow, corrupt, number, to_write},
    },
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

/// What is kept of a history.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) head: RevisionNumber,
    /// The oldest revision; 0 as long as none was dropped.
    pub(super) horizon: RevisionNumber,
}

/// What is kept of a workspace's history.
pub(super) fn kept(db: &Connection, id: WorkspaceId) -> Result<Option<Kept>> {
    let mut statement = db.prepare_cached("SELECT head, horizon FROM workspaces WHERE id = ?1")?;
    let mut rows = statement.query([key(&id)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let number = |column| -> Result<_> {
        let number: i64 = row.get(column)?;
        Ok(RevisionNumber(u64::try_from(number).map_err(corrupt)?))
    };
    Ok(Some(Kept { head: number(0)?, horizon: number(1)? }))
}

/// Drops the oldest revisions but for the newest `keep`, and folds what they wrote: of each
/// object only its last write stays. Only so much at a time that others need not wait.
pub(super) fn drop_oldest(db: &Connection, id: WorkspaceId, keep: u64) -> Result<u64> {
    let Some(Kept { head, horizon }) = kept(db, id)? else { return Ok(0) };
    let oldest = horizon.0.max(1);
    let free = rollouts::oldest(db, id)?.map_or(u64::MAX, |it| it.0);
    let wanted = (head.0 + 1).saturating_sub(keep).min(free);
    if wanted <= oldest {
        return Ok(0);
    }
    let sql = "SELECT number FROM writes WHERE workspace_id = ?1 AND number > ?2
               ORDER BY number, position LIMIT 1 OFFSET ?3";
    let enough: Option<i64> = db
        .prepare_cached(sql)?
        .query_row((key(&id), number(horizon.0)?, number(TOGETHER)?), |row| row.get(0))
        .optional()?;
    let enough = enough.map_or(Ok(wanted), u64::try_from).map_err(corrupt)?;
    let next = number(wanted.min(oldest + TOGETHER).min(enough.max(oldest + 1)))?;
    db.prepare_cached("UPDATE workspaces SET horizon = ?2 WHERE id = ?1")?
        .execute((key(&id), next))?;
    let dropped = db
        .prepare_cached("DELETE FROM revisions WHERE workspace_id = ?1 AND number < ?2")?
        .execute((key(&id), next))?;
    db.prepare_cached(
        "DELETE FROM writes WHERE workspace_id = ?1 AND (number, position) IN (
             SELECT number, position FROM (
                 SELECT number, position, body IS NULL AS removed, row_number() OVER (
                     PARTITION BY kind, object_id ORDER BY number DESC, position DESC
                 ) AS age
                 FROM writes WHERE workspace_id = ?1 AND number <= ?2
             ) WHERE age > 1 OR removed
         )",
    )?
    .execute((key(&id), next))?;
    Ok(dropped as u64)
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
