use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    CredentialKey, CredentialKeys, Millis, Realm, RendezvousSettings, RendezvousStore,
    context::Context,
    feed::Feed,
    offers::Offers,
    rpc::{MAX_READING, Rpc},
    sessions::Sessions,
};
use crate::{
    Clock, Error, ErrorKind, Result, StoreCalls, SystemClock, Tasks, figures::CallCounts,
    store::timed_rendezvous, tenancy::MasterKey,
};

/// Peer signaling: one handle, cheap to clone.
///
/// ```
/// use std::sync::Arc;
/// use nxmesh_core::{rendezvous::Rendezvous, store::memory::MemoryRendezvous};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> nxmesh_core::Result<()> {
/// let rendezvous = Rendezvous::builder().store(MemoryRendezvous::new()).build()?;
/// let peer = rendezvous.offers().register()?;
/// # rendezvous.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Rendezvous(Arc<Context>);

impl Rendezvous {
    /// Starts putting one together.
    pub fn builder() -> RendezvousBuilder {
        RendezvousBuilder::default()
    }

    /// What peers with credentials do: the protocol `offers`.
    #[must_use]
    pub fn offers(&self) -> Offers<'_> {
        Offers::new(&self.0)
    }

    /// What pages of one origin do: the protocol `origin`.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions::new(&self.0)
    }

    /// What peers do that are known by their keys: the protocol `rpc`.
    #[must_use]
    pub fn rpc(&self) -> Rpc<'_> {
        Rpc::new(&self.0)
    }

    /// What reaches peers, as it does.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// What it counts about itself.
    pub async fn figures(&self) -> RendezvousFigures {
        let store = &self.0.store;
        let count = async |realm| store.count(&realm).await.ok();
        RendezvousFigures {
            offers: count(Realm::Offers).await,
            rpc_offers: count(Realm::Rpc).await,
            listeners: self.0.feed.listeners() as u64,
            store_calls: self.0.calls.read(),
        }
    }

    /// What is allowed.
    #[must_use]
    pub fn settings(&self) -> &RendezvousSettings {
        &self.0.settings
    }

    /// Now, as clients write it: milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.0.now()
    }

    /// The owner of all that runs in the background, for what an embedder runs beside it.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Ends what runs in the background.
    pub async fn shutdown(&self) {
        self.0.tasks.shutdown().await;
    }
}

/// What was counted since the start, and what is so now. It names nobody.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RendezvousFigures {
    /// How many offers there are of the protocol `offers`; `None` when the store does not answer.
    pub offers: Option<u64>,
    /// The same of the protocol `rpc`.
    pub rpc_offers: Option<u64>,
    /// How many listen at this process.
    pub listeners: u64,
    /// The calls of the store, by operation.
    pub store_calls: Vec<StoreCalls>,
}

/// Puts a [`Rendezvous`] together.
#[derive(Debug)]
#[must_use]
pub struct RendezvousBuilder {
    store: Option<Arc<dyn RendezvousStore>>,
    clock: Arc<dyn Clock>,
    settings: RendezvousSettings,
    keys: Option<CredentialKeys>,
    master_key: Option<MasterKey>,
}

impl Default for RendezvousBuilder {
    fn default() -> Self {
        Self {
            store: None,
            clock: Arc::new(SystemClock),
            settings: RendezvousSettings::default(),
            keys: None,
            master_key: None,
        }
    }
}

impl RendezvousBuilder {
    /// Where offers are kept. Required.
    pub fn store(self, store: impl RendezvousStore) -> Self {
        self.shared_store(Arc::new(store))
    }

    /// The same, for a store that others have too.
    pub fn shared_store(mut self, store: Arc<dyn RendezvousStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Who tells the time; the machine, if not set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// What is allowed.
    pub fn settings(mut self, settings: RendezvousSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Under which keys credentials of peers are good. If not set, a random one is used: credentials
    /// end with the process then, and are those of no other server.
    pub fn credential_keys(mut self, keys: CredentialKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Under which key the secrets of offers are stored. If not set, a random one is used: who asks
    /// for an offer with a secret after a restart cannot be let in then.
    pub fn master_key(mut self, key: MasterKey) -> Self {
        self.master_key = Some(key);
        self
    }

    /// Starts it; needs a Tokio runtime.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when no store was named.
    pub fn build(self) -> Result<Rendezvous> {
        let missing = "no store: name one by RendezvousBuilder::store";
        let store = self.store.ok_or_else(|| Error::new(ErrorKind::Invalid, missing))?;
        let calls = CallCounts::default();
        let store = timed_rendezvous(store, &calls);
        let keys =
            self.keys.unwrap_or_else(|| CredentialKeys::new(CredentialKey::generate(), None));
        let master = self.master_key.unwrap_or_else(MasterKey::generate);
        let tasks = Tasks::default();
        let (clock, settings) = (self.clock, self.settings);
        let most = settings.max_listeners;
        let feed = Feed::start(Arc::clone(&store), Arc::clone(&clock), most, &tasks);
        tasks.spawn(super::sweep::run(
            Arc::clone(&store),
            Arc::clone(&clock),
            settings.sweep_interval,
            tasks.stopping().clone(),
        ));
        Ok(Rendezvous(Arc::new(Context {
            store,
            calls,
            clock,
            settings,
            keys,
            master,
            feed,
            reading: Arc::new(Semaphore::new(MAX_READING)),
            _stop: tasks.stop_on_drop(),
            tasks,
        })))
    }
}
