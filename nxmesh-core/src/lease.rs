//! Work that only one of several servers does at a time.

use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{Clock, Result, Tasks, clock::new_id};

/// How long a lease lasts if it is not renewed: so long work stands still when a server dies.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// What leases ask of a database. Time is the store's own, so that servers whose clocks
/// differ agree on who holds what.
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync + 'static {
    /// Takes a lease for `lasting`, or renews it. Answers whether `holder` has it now:
    /// `false` as long as somebody else does.
    async fn take_lease(&self, name: &str, holder: Uuid, lasting: Duration) -> Result<bool>;

    /// Gives a lease back before its time; nothing happens if `holder` does not have it.
    async fn return_lease(&self, name: &str, holder: Uuid) -> Result<()>;
}

/// Takes leases in the name of this server.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    store: Arc<dyn LeaseStore>,
    holder: Uuid,
    tasks: Tasks,
}

impl Leases {
    pub(crate) fn new(store: Arc<dyn LeaseStore>, clock: &dyn Clock, tasks: Tasks) -> Self {
        Self { store, holder: *new_id::<Self>(clock).as_uuid(), tasks }
    }

    /// Does `work` again and again, `pause` apart, whenever this server has the lease, until
    /// told to stop. Work that takes longer than the lease is cut off when the lease cannot
    /// be renewed: it must bear to be cut off, and to be done twice.
    pub(crate) async fn repeat<F>(self, name: &'static str, pause: Duration, work: impl Fn() -> F)
    where
        F: Future<Output = Result<()>>,
    {
        // It outlasts the pause, so that one server keeps at it.
        let lasting = LEASE.max(pause * 2);
        while !self.tasks.stopping().is_cancelled() {
            if self.take(name, lasting).await {
                let done = tokio::select! {
                    done = work() => done,
                    () = self.lost(name, lasting) => Ok(()),
                    () = self.tasks.stopping().cancelled() => Ok(()),
                };
                if let Err(error) = done {
                    tracing::warn!(work = name, %error, "will be tried again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.tasks.stopping().cancelled() => {}
            }
        }
        self.give_back(name).await;
    }

    /// Whether this server has the lease now, for as long as one lasts.
    pub(crate) async fn has(&self, name: &str) -> bool {
        self.take(name, LEASE).await
    }

    /// Lets another server have the lease.
    pub(crate) async fn give_back(&self, name: &str) {
        // A lease that cannot be given back ends by itself.
        let _ = self.store.return_lease(name, self.holder).await;
    }

    /// Renews the lease until that does not work.
    async fn lost(&self, name: &str, lasting: Duration) {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            if !self.take(name, lasting).await {
                return;
            }
        }
    }

    async fn take(&self, name: &str, lasting: Duration) -> bool {
        self.store.take_lease(name, self.holder, lasting).await.unwrap_or_else(|error| {
            tracing::debug!(lease = name, %error, "cannot take a lease");
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{SystemClock, store::memory::MemoryStore};

    #[tokio::test(start_paused = true)]
    async fn one_server_works_and_another_goes_on_when_it_is_gone() {
        let store: Arc<dyn LeaseStore> = Arc::new(MemoryStore::new());
        let worked = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let servers = [0, 1].map(|number| {
            let tasks = Tasks::default();
            let leases = Leases::new(Arc::clone(&store), &SystemClock, tasks.clone());
            let worked = Arc::clone(&worked);
            tasks.spawn(leases.repeat("work", Duration::from_secs(1), move || {
                let worked = Arc::clone(&worked);
                async move {
                    worked[number].fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            }));
            tasks
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        let counts = || [0, 1].map(|it| worked[it].load(Ordering::Relaxed));
        let before = counts();
        let first = usize::from(before[0] == 0);
        assert!(before[first] >= 50 && before[1 - first] == 0, "{before:?}");
        servers[first].shutdown().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let after = counts();
        assert_eq!(after[first], before[first]);
        assert!(after[1 - first] >= 40, "{after:?}");
        servers[1 - first].shutdown().await;
    }
}
