//! The owner of everything that is spawned.

use std::{future::Future, sync::Arc};

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Spawns tasks, tells them when to stop, and waits for them.
#[derive(Debug, Clone, Default)]
pub struct Tasks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs a task until it ends; it should end when [`stopping`](Self::stopping) says so.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tracker.spawn(task);
    }

    /// Has [`shutdown`](Self::shutdown) wait for work that somebody else runs.
    pub fn track<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.tracker.track_future(work)
    }

    /// What is cancelled when it is time to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// What tells all tasks to stop when the last copy of it is dropped: for handles
    /// that others hold, and that tasks themselves do not.
    #[must_use]
    pub fn stop_on_drop(&self) -> Arc<DropGuard> {
        Arc::new(self.0.stop.clone().drop_guard())
    }

    /// Tells all tasks to stop, and waits until they have.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }
}
