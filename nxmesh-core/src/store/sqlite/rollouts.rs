//! The rollouts of workspaces, as rows.

use std::collections::HashMap;

use rusqlite::Connection;
use uuid::Uuid;

use super::{
    events::record,
    rows::{all, find, key},
};
use crate::{
    Page, PageRequest, Result, RevisionNumber,
    gateway::{DeliveryRecord, MAX_ROLLOUTS, Rollout, RolloutId, RolloutMark},
    store::{
        TOGETHER,
        codec::{COMPLETED, RolloutRow, TrailRows, UNDER_WAY, corrupt, number},
    },
    tenancy::{Workspace, WorkspaceId},
};

pub(super) fn rollout(db: &Connection, id: RolloutId) -> Result<Option<Rollout>> {
    find(db, "SELECT body FROM rollouts WHERE id = ?1", [key(&id)])
}

pub(super) fn rollouts(
    db: &Connection,
    of: WorkspaceId,
    page: PageRequest,
) -> Result<Page<Rollout>> {
    let total: i64 = db
        .prepare_cached("SELECT count(*) FROM rollouts WHERE workspace_id = ?1")?
        .query_row([key(&of)], |row| row.get(0))?;
    let sql = "SELECT body FROM rollouts WHERE workspace_id = ?1
               ORDER BY number LIMIT ?2 OFFSET ?3";
    let (limit, offset) = (number(page.per_page())?, number(page.offset())?);
    let data = all(db, sql, (key(&of), limit, offset))?;
    Ok(page.part(data, u64::try_from(total).map_err(corrupt)?))
}

pub(super) fn under_way(db: &Connection) -> Result<Vec<Rollout>> {
    let sql = "SELECT body FROM rollouts WHERE state = 'under_way' ORDER BY id LIMIT ?1";
    all(db, sql, [number(TOGETHER)?])
}

pub(super) fn delivery(db: &Connection, of: WorkspaceId) -> Result<Option<DeliveryRecord>> {
    let workspace = find(db, "SELECT body FROM workspaces WHERE id = ?1", [key(&of)])?;
    let Some(workspace): Option<Workspace> = workspace else { return Ok(None) };
    let newest = |state: &str| {
        let sql = "SELECT body FROM rollouts WHERE workspace_id = ?1 AND state = ?2
                   ORDER BY number DESC LIMIT 1";
        find(db, sql, (key(&of), state))
    };
    Ok(Some(DeliveryRecord {
        staged_since: workspace.settings.staged_since,
        under_way: newest(UNDER_WAY)?,
        completed: newest(COMPLETED)?,
        mark: mark(db, of)?.unwrap_or_default(),
    }))
}

/// The oldest revision that must be kept, whatever is dropped.
pub(super) fn oldest(db: &Connection, of: WorkspaceId) -> Result<Option<RevisionNumber>> {
    Ok(delivery(db, of)?.and_then(|it| it.oldest()))
}

pub(super) fn marks(
    db: &Connection,
    of: &[WorkspaceId],
) -> Result<HashMap<WorkspaceId, RolloutMark>> {
    let found = of.iter().map(|id| Ok(mark(db, *id)?.map(|mark| (*id, mark))));
    found.filter_map(Result::transpose).collect()
}

fn mark(db: &Connection, of: WorkspaceId) -> Result<Option<RolloutMark>> {
    let sql = "SELECT number, version FROM rollouts WHERE workspace_id = ?1
               ORDER BY number DESC LIMIT 1";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([key(&of)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let count = |column| u64::try_from(row.get::<_, i64>(column)?).map_err(corrupt);
    Ok(Some(RolloutMark { number: count(0)?, version: count(1)? }))
}

/// Whether it was put, and whether events were recorded with it.
pub(super) fn put(db: &Connection, row: &RolloutRow, trail: &TrailRows) -> Result<(bool, bool)> {
    let RolloutRow { id, workspace_id, version, state, revision, staged_since, body } = row;
    let bytes = |id: &Uuid| *id.as_bytes();
    let changed = if *version == 1 {
        let sql = "INSERT INTO rollouts (id, workspace_id, number, version, state, revision, staged_since, body)
                   SELECT ?1, id, 1 + coalesce((SELECT max(number) FROM rollouts WHERE workspace_id = ?2), 0), ?3, ?4, ?5, ?6, ?7
                   FROM workspaces WHERE id = ?2 AND true ON CONFLICT DO NOTHING";
        let values = (bytes(id), bytes(workspace_id), version, state, revision, staged_since, body);
        let added = db.prepare_cached(sql)?.execute(values)?;
        if added == 1 {
            let sql = "DELETE FROM rollouts WHERE workspace_id = ?1 AND number <= (
                           SELECT max(number) FROM rollouts WHERE workspace_id = ?1
                       ) - ?2 AND number <> coalesce((
                           SELECT max(number) FROM rollouts
                           WHERE workspace_id = ?1 AND state = 'completed'
                       ), 0)";
            db.prepare_cached(sql)?.execute((bytes(workspace_id), number(MAX_ROLLOUTS)?))?;
        }
        added
    } else {
        let sql = "UPDATE rollouts SET version = ?2, state = ?3, body = ?4
                   WHERE id = ?1 AND version = ?2 - 1 AND state = 'under_way'";
        db.prepare_cached(sql)?.execute((bytes(id), version, state, body))?
    };
    let recorded = changed == 1 && record(db, trail)?;
    Ok((changed == 1, recorded))
}
