use std::{sync::Arc, time::Duration};

use sqlx::postgres::PgRow;

use super::{calls::Calls, feed::Feed};
use crate::{
    Error, Result,
    rendezvous::{Durability, RendezvousNews},
    store::postgres::{
        PostgresOptions,
        connections::{Connections, Statement},
        database::Database,
        error::is_to_be_repeated,
        migrate::Schema,
        open::connect,
    },
};

const SCHEMA: Schema = Schema {
    migrations: &[
        include_str!("../migrations/rendezvous/0001_initial.sql"),
        include_str!("../migrations/rendezvous/0002_functions.sql"),
        include_str!("../migrations/rendezvous/0003_mended_functions.sql"),
    ],
    versions: "CREATE TABLE IF NOT EXISTS rendezvous_version (version bigint PRIMARY KEY)",
    last: "SELECT coalesce(max(version), 0) FROM rendezvous_version",
    note: "INSERT INTO rendezvous_version (version) VALUES ($1)",
};

/// Each statement has an index that it is to use, in its order: what is known of a table that was
/// made just now, or that grew a thousandfold since, must not say otherwise.
const DURABLE: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";
/// The same, and an answer does not wait for the disk: the log is there within 0.6 s
/// (three times `wal_writer_delay`).
const RELAXED: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
     SET synchronous_commit = off";

/// How often a change is tried that others get in the way of.
const TRIES: u32 = 10;

/// Keeps rendezvous in a Postgres database. Several processes may share one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresRendezvous {
    pub(super) database: Arc<Database<Feed>>,
    calls: Calls,
}

impl PostgresRendezvous {
    /// Opens the database at `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, which may be that of
    /// the [store](crate::store::postgres::PostgresStore), and brings its schema up to date.
    ///
    /// # Errors
    /// Those of [`PostgresStore::open`](crate::store::postgres::PostgresStore::open).
    pub async fn open(url: &str, durability: Durability) -> Result<Self> {
        Self::open_with(url, PostgresOptions::default(), durability).await
    }

    /// The same, not by default. Without [`listen`](PostgresOptions::listen) there are no news of
    /// other servers: that some were missed is told once a second instead.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(
        url: &str,
        options: PostgresOptions,
        durability: Durability,
    ) -> Result<Self> {
        let PostgresOptions { max_connections, allow_plain_text, listen } = options;
        let connect = connect(url, allow_plain_text, SCHEMA).await?;
        let settings = match durability {
            Durability::Durable => DURABLE,
            Durability::Relaxed => RELAXED,
        };
        let most = max_connections.max(1);
        let connections = Arc::new(Connections::new(connect.clone(), most, settings));
        let feed = Feed::start(connect, Arc::clone(&connections), listen);
        let database = Arc::new(Database { connections, feed });
        Ok(Self { database, calls: Calls::new(most) })
    }

    /// What a call answers, which once begun comes to its end whether somebody waits for it or not.
    pub(super) async fn run<T, F>(&self, call: impl FnOnce(Self) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.calls.run(call(self.clone())).await
    }

    /// The rows that a statement answers which changes something. One that gave way to
    /// others is tried again.
    pub(super) async fn change<'q>(
        &self,
        statement: impl Fn() -> Statement<'q> + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        let mut tries = 1;
        loop {
            let done = self.database.change_all(statement()).await;
            match done {
                Err(error) if is_to_be_repeated(&error) && tries < TRIES => {
                    let most = u64::from(tries) * 10;
                    let pause = rand::random_range(0..=most);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    tries += 1;
                }
                done => {
                    if done.as_ref().is_err_and(Error::is_undecided) {
                        // It may have been done, with news that nobody has.
                        self.database.feed.announce(RendezvousNews::Missed);
                    }
                    return done;
                }
            }
        }
    }
}
