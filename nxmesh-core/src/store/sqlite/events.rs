use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::watch;

use super::{SqliteStore, rows::key, writer::Written};
use crate::{
    Page, PageRequest, Result, Trail,
    events::{Event, EventId, EventStore, EventsKept},
    store::{
        codec::{EntryRow, TrailRows, corrupt, from_body, micros, number},
        local::Effect,
    },
    tenancy::{AuditEntry, AuditFilter, OrganizationId},
};

#[async_trait]
impl EventStore for SqliteStore {
    async fn record(&self, trail: Trail) -> Result<()> {
        let trail = TrailRows::of(&trail)?;
        let write = move |db: &Connection| {
            let recorded = record(db, &trail)?;
            Ok(Written { answer: (), effect: Effect { recorded, ..Effect::default() } })
        };
        self.database.write(write).await
    }

    async fn events_after(&self, after: EventId, most: usize) -> Result<Vec<Event>> {
        let sql = "SELECT id, body FROM events WHERE id > ?1 ORDER BY id LIMIT ?2";
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query((number(after.0)?, number(most as u64)?))?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                let id = event_id(row.get(0)?)?;
                let event = from_body(row.get_ref(1)?.as_str().map_err(corrupt)?)?;
                events.push(Event { id, event });
            }
            Ok(events)
        };
        self.database.read(read).await
    }

    async fn events_kept(&self) -> Result<EventsKept> {
        let sql = "SELECT coalesce(min(id) - 1, 0), coalesce(max(id), 0) FROM events";
        let read = move |db: &Connection| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (after, newest) = db.prepare_cached(sql)?.query_row([], read)?;
            Ok(EventsKept { after: event_id(after)?, newest: event_id(newest)? })
        };
        self.database.read(read).await
    }

    async fn drop_events(&self, keep: u64) -> Result<u64> {
        let sql = "DELETE FROM events WHERE id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?1)";
        let write = move |db: &Connection| {
            let dropped = db.prepare_cached(sql)?.execute([number(keep.max(1))?])?;
            Ok(Written::quietly(dropped as u64))
        };
        self.database.write(write).await
    }

    fn watch_events(&self) -> watch::Receiver<u64> {
        self.local.watch_events()
    }
}

/// Records what a change leaves behind. Whether there are events among it.
pub(super) fn record(db: &Connection, trail: &TrailRows) -> Result<bool> {
    let TrailRows { entries, events } = trail;
    for entry in entries {
        let EntryRow { id, organization_id, user_id, action, object_id, created_at, body } = entry;
        let sql = "INSERT INTO audit_entries (id, organization_id, user_id, action, object_id, created_at, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        db.prepare_cached(sql)?.execute((
            id.as_bytes(),
            organization_id.as_bytes(),
            user_id.as_bytes(),
            action,
            object_id.as_bytes(),
            created_at,
            body,
        ))?;
    }
    for body in events {
        db.prepare_cached("INSERT INTO events (body) VALUES (?1)")?.execute([body])?;
    }
    Ok(!events.is_empty())
}

/// What of the audit log of an organization matches.
pub(super) fn audit_log(
    db: &Connection,
    of: OrganizationId,
    filter: &AuditFilter,
    page: PageRequest,
) -> Result<Page<AuditEntry>> {
    let AuditFilter { user_id, action, object_id, from, to } = filter;
    let rest = "FROM audit_entries WHERE organization_id = ?1
        AND created_at >= coalesce(?2, created_at) AND (?3 IS NULL OR created_at < ?3)
        AND user_id = coalesce(?4, user_id) AND action = coalesce(?5, action)
        AND object_id = coalesce(?6, object_id)";
    let values = (
        key(&of),
        from.map(micros),
        to.map(micros),
        user_id.as_ref().map(key),
        action.as_ref().map(|it| it.as_str()),
        object_id.as_ref().map(|it| &it.as_bytes()[..]),
    );
    let total: i64 = db
        .prepare_cached(&format!("SELECT count(*) {rest}"))?
        .query_row(values, |row| row.get(0))?;
    let sql = format!("SELECT body {rest} ORDER BY created_at, id LIMIT ?7 OFFSET ?8");
    let mut statement = db.prepare_cached(&sql)?;
    let (of, from, to, user, action, object) = values;
    let (limit, offset) = (number(page.per_page())?, number(page.offset())?);
    let mut rows = statement.query((of, from, to, user, action, object, limit, offset))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(from_body(row.get_ref(0)?.as_str().map_err(corrupt)?)?);
    }
    Ok(page.part(entries, u64::try_from(total).map_err(corrupt)?))
}

fn event_id(id: i64) -> Result<EventId> {
    u64::try_from(id).map(EventId).map_err(corrupt)
}
