//! Everything in memory: for tests, and for what may be lost.

mod events;
mod gateway;
mod idempotency;
mod leases;
#[cfg(feature = "rendezvous")]
mod rendezvous;
mod rollouts;
mod state;
mod tenancy;

use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(feature = "rendezvous")]
pub use self::rendezvous::MemoryRendezvous;

use self::state::State;
use super::local::Local;

/// Keeps everything in memory, and loses it with the process.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    local: Local,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), local: Local::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
