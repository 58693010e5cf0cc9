use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::{Error, ErrorKind, Result};

/// Tables with a version of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema {
    /// Each takes it one version further; a published one never changes.
    pub(super) migrations: &'static [&'static str],
    /// The statement that makes the table of versions, unless it is there.
    pub(super) versions: &'static str,
    /// The statement that reads the last version.
    pub(super) last: &'static str,
    /// The statement that notes one.
    pub(super) note: &'static str,
}

/// That of the store.
pub(super) const STORE: Schema = Schema {
    migrations: MIGRATIONS,
    versions: "CREATE TABLE IF NOT EXISTS schema_version (version bigint PRIMARY KEY)",
    last: "SELECT coalesce(max(version), 0) FROM schema_version",
    note: "INSERT INTO schema_version (version) VALUES ($1)",
};

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_agent_sessions.sql"),
    include_str!("migrations/0003_roles.sql"),
    include_str!("migrations/0004_api_keys.sql"),
    include_str!("migrations/0005_events.sql"),
    include_str!("migrations/0006_idempotency.sql"),
    include_str!("migrations/0007_history.sql"),
    include_str!("migrations/0008_silent_agents.sql"),
    include_str!("migrations/0009_first_settings.sql"),
    include_str!("migrations/0010_agent_drift.sql"),
    include_str!("migrations/0011_rollouts.sql"),
];
/// Names the lock that servers which start at once take in turn.
const LOCK: i64 = 0x6e78_6d65_7368;

/// Brings a schema up to date, all steps together or none.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    Schema { migrations, versions, last, note }: Schema,
) -> Result<()> {
    let mut step = connection.begin().await?;
    // That a table is there already is no news.
    step.execute("SET LOCAL client_min_messages = warning").await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *step).await?;
    step.execute(versions).await?;
    let row = sqlx::query(last).fetch_one(&mut *step).await?;
    let version: i64 = row.try_get(0)?;
    let newest = migrations.len() as i64;
    if version > newest {
        let message = format!(
            "the database has schema version {version}, but this program knows only up to {newest}: use a newer program"
        );
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    for (number, migration) in (1_i64..).zip(migrations).filter(|(number, _)| *number > version) {
        step.execute(AssertSqlSafe(*migration)).await?;
        sqlx::query(note).bind(number).execute(&mut *step).await?;
    }
    step.commit().await?;
    Ok(())
}
