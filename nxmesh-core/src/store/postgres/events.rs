use async_trait::async_trait;
use sqlx::{Row, postgres::PgRow};
use tokio::sync::watch;

use super::{
    PostgresStore,
    connections::Statement,
    rows::{body, key},
};
use crate::{
    Page, PageRequest, Result, Trail,
    events::{Event, EventId, EventStore, EventsKept},
    store::codec::{TrailRows, corrupt, micros, number, to_body},
    tenancy::{AuditEntry, AuditFilter, OrganizationId},
};

/// How many events `number_events.sql` numbers at most.
const AT_ONCE: u64 = 10_000;

#[async_trait]
impl EventStore for PostgresStore {
    async fn record(&self, trail: Trail) -> Result<()> {
        let rows = TrailRows::of(&trail)?;
        let statement = bind_trail(sqlx::query("SELECT record_trail($1, $2)"), &rows)?;
        self.database.change(statement).await?;
        self.recorded(&rows);
        Ok(())
    }

    async fn events_after(&self, after: EventId, most: usize) -> Result<Vec<Event>> {
        self.number_events().await?;
        let sql = "SELECT id, body FROM events WHERE id > $1 ORDER BY id LIMIT $2";
        let statement = sqlx::query(sql).bind(number(after.0)?).bind(number(most as u64)?);
        let rows = self.database.all(statement).await?;
        rows.iter().map(|row| Ok(Event { id: event_id(row, 0)?, event: body(row, 1)? })).collect()
    }

    async fn events_kept(&self) -> Result<EventsKept> {
        self.number_events().await?;
        let sql = "SELECT coalesce(min(id) - 1, 0), coalesce(max(id), 0) FROM events";
        let row = self.database.one(sqlx::query(sql)).await?;
        Ok(EventsKept { after: event_id(&row, 0)?, newest: event_id(&row, 1)? })
    }

    async fn drop_events(&self, keep: u64) -> Result<u64> {
        self.number_events().await?;
        let statement = sqlx::query(
            "DELETE FROM events WHERE id <= (
                 SELECT id FROM events WHERE id IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET $1
             )",
        );
        self.database.execute(statement.bind(number(keep.max(1))?)).await
    }

    fn watch_events(&self) -> watch::Receiver<u64> {
        self.database.feed.watch_events()
    }
}

impl PostgresStore {
    /// Gives ids to the events that have none. A statement of its own: what it numbers can be
    /// read only after it.
    async fn number_events(&self) -> Result<()> {
        let statement = || sqlx::query(include_str!("sql/number_events.sql"));
        while self.database.execute(statement()).await? == AT_ONCE {}
        Ok(())
    }

    /// Says so when events were recorded.
    pub(super) fn recorded(&self, rows: &TrailRows) {
        if !rows.events.is_empty() {
            self.database.feed.announce_events();
        }
    }

    pub(super) async fn find_entries(
        &self,
        of: OrganizationId,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>> {
        let AuditFilter { user_id, action, object_id, from, to } = filter;
        let statement = sqlx::query(include_str!("sql/audit_log.sql"))
            .bind(key(of))
            .bind(from.map(micros))
            .bind(to.map(micros))
            .bind(user_id.map(key))
            .bind(action.as_ref().map(|it| it.as_str().to_owned()))
            .bind(*object_id)
            .bind(number(page.per_page())?)
            .bind(number(page.offset())?);
        let rows = self.database.all(statement).await?;
        let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        let found = rows.iter().filter(|row| matches!(row.try_get(1), Ok(Some::<&str>(_))));
        let entries = found.map(|row| body(row, 1)).collect::<Result<_>>()?;
        Ok(page.part(entries, u64::try_from(total).map_err(corrupt)?))
    }
}

/// The two values that `record_trail` takes.
pub(super) fn bind_trail<'q>(
    statement: Statement<'q>,
    TrailRows { entries, events }: &TrailRows,
) -> Result<Statement<'q>> {
    Ok(statement.bind(to_body(entries)?).bind(to_body(events)?))
}

fn event_id(row: &PgRow, column: usize) -> Result<EventId> {
    u64::try_from(row.try_get::<i64, _>(column)?).map(EventId).map_err(corrupt)
}
