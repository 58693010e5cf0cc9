use rusqlite::Connection;

use crate::{Error, ErrorKind, Result};

/// Each takes the schema one version further; a published one never changes.
pub(super) const MIGRATIONS: &[&str] = &[
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

/// Brings the schema up to date, each step whole or not at all.
pub(super) fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<()> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = (1_u32..).zip(migrations);
    if version as usize > migrations.len() {
        let message = format!(
            "the database has schema version {version}, but this program knows only up to {}: use a newer program",
            migrations.len()
        );
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    for (number, migration) in known.filter(|(number, _)| *number > version) {
        let step = connection.transaction()?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "user_version", number)?;
        step.commit()?;
    }
    Ok(())
}
