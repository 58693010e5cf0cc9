//! Everything in memory: for tests, and for what may be lost.

mod gateway;
mod state;
mod tenancy;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use self::state::State;
use crate::gateway::Moved;

/// How many moves a subscriber may be behind before it is told that it missed some.
pub(crate) const MOVES: usize = 1024;

/// Keeps everything in memory, and loses it with the process.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    moved: broadcast::Sender<Moved>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), moved: broadcast::Sender::new(MOVES) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, moved: Moved) {
        // Nobody may be listening.
        let _ = self.moved.send(moved);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
