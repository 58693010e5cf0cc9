use std::{sync::Arc, time::Duration};

use crate::{
    Clock, Error, ErrorKind, Figures, Once, Result, Retention, SystemClock, Tasks,
    events::Events,
    figures::CallCounts,
    gateway::Gateway,
    housekeeping,
    lease::Leases,
    store::{Stores, timed},
    tenancy::{MasterKey, Tenancy},
};

/// The control plane: one handle to all areas, cheap to clone.
///
/// ```
/// use nxmesh_core::{Mesh, store::memory::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> nxmesh_core::Result<()> {
/// let mesh = Mesh::builder().store(MemoryStore::new()).build().await?;
/// let user = mesh.tenancy().users().create("me@example.com", "correct horse".to_owned().into()).await?;
/// # mesh.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Mesh(Arc<Areas>);

#[derive(Debug)]
struct Areas {
    tenancy: Tenancy,
    gateway: Gateway,
    events: Events,
    once: Once,
    tasks: Tasks,
    store_calls: CallCounts,
}

impl Mesh {
    /// Starts putting one together.
    pub fn builder() -> MeshBuilder {
        MeshBuilder::default()
    }

    /// Organizations, workspaces, users, logging in.
    #[must_use]
    pub fn tenancy(&self) -> &Tenancy {
        &self.0.tenancy
    }

    /// Agents and what they serve.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    /// What happens, as it happens.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Requests that may be sent again.
    #[must_use]
    pub fn once(&self) -> &Once {
        &self.0.once
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when it does not.
    pub async fn ready(&self) -> Result<()> {
        self.0.tenancy.context().store.has_users().await.map(|_| ())
    }

    /// What it counts about itself.
    pub async fn figures(&self) -> Figures {
        let (agents, commits) = self.0.gateway.figures().await;
        let (events, store_calls) = (self.0.events.figures(), self.0.store_calls.read());
        Figures { agents, commits, events, store_calls }
    }

    /// The owner of all that runs in the background, for what an embedder runs beside it.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Ends all sessions with agents, and waits until that is written down.
    pub async fn shutdown(&self) {
        self.0.tasks.shutdown().await;
    }
}

/// Puts a [`Mesh`] together.
#[derive(Debug)]
#[must_use]
pub struct MeshBuilder {
    stores: Option<Stores>,
    clock: Arc<dyn Clock>,
    master_key: Option<MasterKey>,
    heartbeat_interval: Duration,
    retention: Retention,
}

impl Default for MeshBuilder {
    fn default() -> Self {
        Self {
            stores: None,
            clock: Arc::new(SystemClock),
            master_key: None,
            heartbeat_interval: Duration::from_secs(10),
            retention: Retention::default(),
        }
    }
}

impl MeshBuilder {
    /// Where everything is kept. Required.
    pub fn store(mut self, stores: impl Into<Stores>) -> Self {
        self.stores = Some(stores.into());
        self
    }

    /// Who tells the time; the machine, if not set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Under which key secrets are stored. If not set, a random one is used, and
    /// what was stored under it is lost with the process: fit for tests only.
    pub fn master_key(mut self, key: MasterKey) -> Self {
        self.master_key = Some(key);
        self
    }

    /// How often agents report; 10 s, if not set. An agent that misses three is offline.
    pub const fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// For how long what piles up is kept.
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Opens the areas.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when no store was named; those of the store;
    /// [`Corrupt`](ErrorKind::Corrupt) when the master key is not the one of the store.
    pub async fn build(self) -> Result<Mesh> {
        let missing = || Error::new(ErrorKind::Invalid, "no store: name one by MeshBuilder::store");
        let store_calls = CallCounts::default();
        let stores = timed(self.stores.ok_or_else(missing)?, &store_calls);
        let master = self.master_key.unwrap_or_else(MasterKey::generate);
        let tasks = Tasks::default();
        let tenancy =
            Tenancy::open(Arc::clone(&stores.tenancy), Arc::clone(&self.clock), &master).await?;
        let clock = Arc::clone(&self.clock);
        let heartbeat = self.heartbeat_interval;
        housekeeping::start(stores.clone(), clock, self.retention, heartbeat, &tasks);
        let clock = Arc::clone(&self.clock);
        let events = Events::open(stores.events, stores.tenancy, clock, &tasks).await?;
        let leases = Leases::new(stores.leases, self.clock.as_ref(), tasks.clone());
        let clock = Arc::clone(&self.clock);
        let once = Once::new(stores.idempotency, clock, master, tasks.clone());
        let gateway = Gateway::open(
            stores.gateway,
            tenancy.clone(),
            events.clone(),
            self.clock,
            leases,
            tasks.clone(),
            self.heartbeat_interval,
        );
        Ok(Mesh(Arc::new(Areas { tenancy, gateway, events, once, tasks, store_calls })))
    }
}
