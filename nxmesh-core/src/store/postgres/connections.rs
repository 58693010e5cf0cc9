//! Connections, lent one call at a time.
//!
//! The pool of the library tests each connection with a ping that has no time limit, on the
//! way out and on the way back. Where a network swallows packets such a ping never ends, and
//! takes its place in the pool with it. Here a connection goes back only after a call that
//! came to its end; whatever else happens, it is closed, and its place is free at once.

use std::{
    fmt,
    future::Future,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions},
    query::Query,
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::error::{is_of_the_call, unavailable};
use crate::Result;

/// How long to wait for a connection when all are in use.
pub(super) const TURN: Duration = Duration::from_secs(3);
/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the database may take. It gives up itself before.
const CALL: Duration = Duration::from_secs(5);
/// A connection that was idle for so long is not used again: something between may have
/// forgotten it.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// The database gives up before the caller does. Each call is one keyed statement: the plan
/// that fits any key fits this one.
const SETTINGS: &str = "SET statement_timeout = 4000; SET plan_cache_mode = force_generic_plan; \
     SET default_transaction_isolation = 'read committed'";

/// Opens, keeps and closes connections.
pub(super) struct Connections {
    options: PgConnectOptions,
    /// More settings, as statements.
    extra: &'static str,
    turns: Semaphore,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
    down: AtomicBool,
    /// Somebody found that the database does not answer.
    pub(super) went_down: Notify,
}

/// A connection that is lent; closed when it is dropped.
pub(super) struct Lent<'a> {
    owner: &'a Connections,
    connection: PgConnection,
    _turn: SemaphorePermit<'a>,
}

/// A statement with its values.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl Connections {
    pub(super) fn new(options: PgConnectOptions, most: u32, extra: &'static str) -> Self {
        Self {
            options,
            extra,
            turns: Semaphore::new(most as usize),
            idle: Mutex::default(),
            down: AtomicBool::new(false),
            went_down: Notify::new(),
        }
    }

    /// Lends a connection. While the database is known to be away this fails at once.
    pub(super) async fn lend(&self) -> Result<Lent<'_>> {
        if self.is_down() {
            return Err(unavailable("the database does not answer"));
        }
        let busy = || unavailable("too many calls of the database wait: try again");
        let turn = timeout(TURN, self.turns.acquire()).await.map_err(|_| busy())?;
        let _turn = turn.map_err(|_| busy())?;
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.open().await.inspect_err(|_| self.set_down())?,
        };
        Ok(Lent { owner: self, connection, _turn })
    }

    /// How many rows a statement changed.
    pub(super) async fn execute(&self, statement: Statement<'_>) -> Result<u64> {
        let mut lent = self.lend().await?;
        let done = self.in_time(lent.get().execute(statement)).await?;
        lent.end(done).map(|it| it.rows_affected())
    }

    /// The answer of the database; without one, it counts as away.
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = sqlx::Result<T>> + Send,
    ) -> Result<sqlx::Result<T>> {
        timeout(CALL, call).await.map_err(|_| {
            self.set_down();
            unavailable(
                "the database did not answer in time: whether a change was made is not known",
            )
            .undecided()
        })
    }

    /// Opens a connection beside all others.
    pub(super) async fn open(&self) -> Result<PgConnection> {
        let open = async {
            let mut connection = self.options.connect().await?;
            connection.execute(SETTINGS).await?;
            if !self.extra.is_empty() {
                connection.execute(self.extra).await?;
            }
            Ok(connection)
        };
        timeout(CONNECT, open)
            .await
            .map_err(|_| unavailable("the database does not answer"))?
            .map_err(|error: sqlx::Error| {
                unavailable("the database does not answer").with_source(error)
            })
    }

    /// Whether the database answers again; if so, calls go on.
    pub(super) async fn probe(&self) -> bool {
        match self.open().await {
            Ok(connection) => {
                if self.down.swap(false, Ordering::Relaxed) {
                    tracing::info!("the database answers again");
                }
                self.keep(connection);
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// From now on calls fail at once, until a probe succeeds.
    pub(super) fn set_down(&self) {
        self.drop_idle();
        if !self.down.swap(true, Ordering::Relaxed) {
            tracing::warn!("the database does not answer");
        }
        self.went_down.notify_one();
    }

    /// One connection was lost: the others that nobody uses probably are too.
    pub(super) fn drop_idle(&self) {
        self.lock().clear();
    }

    fn take_idle(&self) -> Option<PgConnection> {
        let mut idle = self.lock();
        // The one that was used last, so that those there are too many of age.
        let (connection, since) = idle.pop()?;
        if since.elapsed() < MAX_IDLE {
            return Some(connection);
        }
        idle.clear();
        None
    }

    fn keep(&self, connection: PgConnection) {
        self.lock().push((connection, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes leave of the database, so that it does not wonder.
    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut *self.lock());
        for (connection, _) in idle {
            // It is closed either way.
            let _ = timeout(CONNECT, connection.close()).await;
        }
    }
}

impl Lent<'_> {
    pub(super) const fn get(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// The call ended like this; the connection is kept if that was not its fault.
    pub(super) fn end<T>(self, done: sqlx::Result<T>) -> Result<T> {
        match is_of_the_call(&done) {
            true => self.give_back(),
            false => self.owner.drop_idle(),
        }
        Ok(done?)
    }

    /// The call came to its end: the next one may use the connection.
    pub(super) fn give_back(self) {
        let Self { owner, connection, _turn } = self;
        owner.keep(connection);
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("host", &self.options.get_host())
            .field("database", &self.options.get_database())
            .field("down", &self.is_down())
            .finish_non_exhaustive()
    }
}
