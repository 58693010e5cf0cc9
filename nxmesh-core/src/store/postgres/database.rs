//! Calls of the database: one statement each, which is atomic by itself, in one round trip.

use std::sync::Arc;

use sqlx::{
    Executor, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};

use super::{
    connections::{Connections, Statement},
    error::unavailable,
    feed::Feed,
};
use crate::{Error, Result, gateway::News};

/// The one way to the database, with a feed of news of it.
#[derive(Debug)]
pub(super) struct Database<F = Feed> {
    pub(super) connections: Arc<Connections>,
    pub(super) feed: F,
}

impl Database {
    pub(super) fn new(options: PgConnectOptions, most: u32, listen: bool) -> Self {
        let connections = Arc::new(Connections::new(options.clone(), most, ""));
        Self { feed: Feed::start(options, Arc::clone(&connections), listen), connections }
    }

    /// How many rows a statement changed, while nobody else writes to a table.
    pub(super) async fn execute_alone(
        &self,
        lock: &'static str,
        statement: Statement<'_>,
    ) -> Result<u64> {
        let mut lent = self.connections.lend().await?;
        let done = self.connections.in_time(alone(lent.get(), lock, statement)).await?;
        // After a failure the transaction is open: it ends with the connection.
        let changed = done?;
        lent.give_back();
        Ok(changed)
    }

    /// A connection beside all others, for work that is no call.
    pub(super) async fn open(&self) -> Result<PgConnection> {
        self.connections.open().await
    }

    pub(super) fn announce(&self, news: News) {
        self.feed.announce(news);
    }
}

impl<F: Send + Sync> Database<F> {
    /// The row that a statement answers, if it does.
    pub(super) async fn optional(&self, statement: Statement<'_>) -> Result<Option<PgRow>> {
        self.try_change(statement).await.map_err(Error::decided)
    }

    /// The row that a statement always answers.
    pub(super) async fn one(&self, statement: Statement<'_>) -> Result<PgRow> {
        let missing = || unavailable("the database answered without a row");
        self.optional(statement).await?.ok_or_else(missing)
    }

    /// The row that a statement answers which changes something: when it fails, the change may
    /// have been made all the same.
    pub(super) async fn change(&self, statement: Statement<'_>) -> Result<PgRow> {
        let missing = || unavailable("the database answered without a row").undecided();
        self.try_change(statement).await?.ok_or_else(missing)
    }

    /// The same, if it answers one.
    pub(super) async fn try_change(&self, statement: Statement<'_>) -> Result<Option<PgRow>> {
        let mut lent = self.connections.lend().await?;
        let done = self.connections.in_time(lent.get().fetch_optional(statement)).await?;
        lent.end(done)
    }

    /// All rows that a statement answers.
    pub(super) async fn all(&self, statement: Statement<'_>) -> Result<Vec<PgRow>> {
        self.change_all(statement).await.map_err(Error::decided)
    }

    /// All rows that a statement answers which changes something.
    pub(super) async fn change_all(&self, statement: Statement<'_>) -> Result<Vec<PgRow>> {
        let mut lent = self.connections.lend().await?;
        let done = self.connections.in_time(lent.get().fetch_all(statement)).await?;
        lent.end(done)
    }

    /// How many rows a statement changed.
    pub(super) async fn execute(&self, statement: Statement<'_>) -> Result<u64> {
        self.connections.execute(statement).await
    }
}

async fn alone(
    connection: &mut PgConnection,
    lock: &'static str,
    statement: Statement<'_>,
) -> sqlx::Result<u64> {
    connection.execute("BEGIN").await?;
    connection.execute(lock).await?;
    let done = connection.execute(statement).await?.rows_affected();
    connection.execute("COMMIT").await?;
    Ok(done)
}
