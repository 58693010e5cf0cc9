//! The owner of everything that is spawned.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt;

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
    failed: AtomicBool,
}

impl Tasks {
    /// Runs a task until it ends; it should end when [`stopping`](Self::stopping) says so.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tracker.spawn(task);
    }

    /// The same for a task that nothing goes on without: should it panic, all others are told to stop,
    /// and [`have_failed`](Self::have_failed) says so.
    pub fn spawn_vital(&self, task: impl Future<Output = ()> + Send + 'static) {
        let all = self.clone();
        self.spawn(async move {
            // Nothing looks at what it leaves.
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                all.0.failed.store(true, Ordering::Relaxed);
                all.0.stop.cancel();
            }
        });
    }

    /// Whether a task panicked that nothing goes on without.
    #[must_use]
    pub fn have_failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_a_vital_task_panics_all_are_told_to_stop() {
        let tasks = Tasks::default();
        tasks.spawn_vital(async {});
        tasks.spawn(async { panic!("one that others can do without") });
        tokio::task::yield_now().await;
        assert!(!tasks.stopping().is_cancelled());
        tasks.spawn_vital(async { panic!("one that they cannot") });
        tasks.stopping().cancelled().await;
        tasks.shutdown().await;
        assert!(tasks.have_failed());
    }
}
