//! Rendezvous in memory: of one process, as fast as it gets, and gone with it.

mod inbox;
mod nonces;
mod peers;
mod publish;
mod reads;
mod row;
mod state;
mod store;
mod sweep;
mod topics;
mod writes;

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;

use self::state::State;
use crate::{rendezvous::RendezvousNews, store::local::NEWS};

/// Keeps rendezvous in memory, and loses it with the process.
///
/// 100,000 live offers with session descriptions of 1.5 KB take some 220 MB. No call reads more
/// than what it answers; a call that finds that many offers expired since the one before
/// takes them out of their topics first.
pub struct MemoryRendezvous {
    state: Mutex<State>,
    news: broadcast::Sender<RendezvousNews>,
}

impl MemoryRendezvous {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), news: broadcast::Sender::new(NEWS) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: RendezvousNews) {
        // Nobody may be listening.
        let _ = self.news.send(news);
    }
}

impl Default for MemoryRendezvous {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryRendezvous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRendezvous").finish_non_exhaustive()
    }
}
