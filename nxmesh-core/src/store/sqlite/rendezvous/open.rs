use std::{path::Path, sync::Arc};

use tokio::sync::{Mutex, broadcast};

use super::sync::Syncer;
use crate::{
    Error, Result,
    rendezvous::{Durability, RendezvousNews},
    store::sqlite::{
        database::{Database, LOG, Purpose},
        error::interrupted,
        writer::{Audience, Written},
    },
};

pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/rendezvous/0001_initial.sql"),
    include_str!("../migrations/rendezvous/0002_floor_and_early.sql"),
];
/// How many news a receiver may be behind before it is told that it missed some.
const NEWS: usize = 1024;

/// Keeps rendezvous in one file. One process at a time: a second one is refused.
#[derive(Debug)]
pub struct SqliteRendezvous {
    pub(super) database: Database<News>,
    pub(super) news: Arc<News>,
    /// Held while a sweep is under way: many would share a transaction, which nobody should wait for.
    pub(super) sweeping: Mutex<()>,
    _syncer: Option<Syncer>,
}

impl SqliteRendezvous {
    /// Opens the file, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`](crate::store::sqlite::SqliteStore::open).
    pub async fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let news = Arc::new(News(broadcast::Sender::new(NEWS)));
        let audience = Arc::clone(&news);
        let opened = tokio::task::spawn_blocking(move || {
            let synchronous = match durability {
                Durability::Durable => "full",
                Durability::Relaxed => "normal",
            };
            let purpose = Purpose { migrations: MIGRATIONS, synchronous, log: LOG };
            let database = Database::open(&path, &purpose, audience)?;
            let syncer = match durability {
                Durability::Durable => None,
                Durability::Relaxed => Some(Syncer::start(&path)?),
            };
            Ok::<_, Error>((database, syncer))
        });
        let (database, _syncer) = opened.await.map_err(interrupted)??;
        Ok(Self { database, news, sweeping: Mutex::default(), _syncer })
    }
}

/// Whoever listens.
#[derive(Debug)]
pub(super) struct News(pub(super) broadcast::Sender<RendezvousNews>);

impl Audience for News {
    type Effect = Vec<RendezvousNews>;

    fn count(&self, _: &Self::Effect) {}

    fn tell(&self, effect: Self::Effect) {
        for news in effect {
            // Nobody may be listening.
            let _ = self.0.send(news);
        }
    }
}

/// An answer, and what there is to tell.
pub(super) type Done<T> = Written<T, Vec<RendezvousNews>>;
