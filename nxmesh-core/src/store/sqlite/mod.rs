//! Everything in one SQLite file.
//!
//! Write-ahead log, `synchronous=FULL`: what was answered survives a crash of the
//! process and of the machine. One thread writes; it takes whatever waits and
//! commits it in one transaction, so that many callers share one `fsync`. Reads
//! go to a pool of connections. No call blocks an async worker.

mod database;
mod error;
mod events;
mod gateway;
mod history;
mod idempotency;
mod leases;
mod log;
mod migrate;
mod readers;
#[cfg(feature = "rendezvous")]
mod rendezvous;
mod rollouts;
mod rows;
mod tenancy;
mod transfer;
mod writer;

use std::{path::Path, sync::Arc};

use self::database::{Database, LOG, Purpose};
#[cfg(feature = "rendezvous")]
pub use self::rendezvous::SqliteRendezvous;
use super::local::Local;
use crate::Result;

/// Keeps everything in one file. One process at a time: a second one is refused.
#[derive(Debug)]
pub struct SqliteStore {
    database: Database,
    local: Arc<Local>,
}

impl SqliteStore {
    /// Opens the file, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when it cannot be opened or another
    /// process has it open; [`Corrupt`](crate::ErrorKind::Corrupt) when it is no such file, or
    /// was written by a newer version of this program.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let local = Arc::new(Local::new());
        let news = Arc::clone(&local);
        let opened = tokio::task::spawn_blocking(move || {
            let purpose =
                Purpose { migrations: migrate::MIGRATIONS, synchronous: "full", log: LOG };
            Database::open(&path, &purpose, news)
        })
        .await;
        let database = opened.map_err(error::interrupted)??;
        Ok(Self { database, local })
    }
}
