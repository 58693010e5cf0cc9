use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use super::{FeedEvent, Realm};
use crate::{Error, ErrorKind, Result};

/// How many listeners one peer may have.
pub const MAX_LISTENERS_OF_PEER: usize = 16;
/// How many events that are in no store may wait for one listener.
const MAX_WAITING: usize = 64;
/// How large these may be, but for the first of them.
const MAX_WAITING_BYTES: usize = 512 * 1024;

/// What is to be told to somebody.
#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) wake: Notify,
    /// Something may have reached the peer.
    to_look: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<FeedEvent>,
    bytes: usize,
    missed: bool,
}

impl Listener {
    /// Something may have reached the peer.
    pub(super) fn look(&self) {
        self.to_look.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether something may have; whoever asks looks now.
    pub(super) fn is_to_look(&self) -> bool {
        self.to_look.swap(false, Ordering::AcqRel)
    }

    /// Has an event wait, if there is room for it.
    pub(super) fn tell(&self, event: FeedEvent) {
        let mut waiting = self.waiting();
        let (count, bytes) = (waiting.events.len(), waiting.bytes + event.bytes());
        if count == 0 || count < MAX_WAITING && bytes <= MAX_WAITING_BYTES {
            waiting.events.push_back(event);
            waiting.bytes = bytes;
        } else {
            waiting.missed = true;
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Some news were lost.
    pub(super) fn miss(&self) {
        self.waiting().missed = true;
        self.look();
    }

    /// The next event that waits.
    pub(super) fn take(&self) -> Option<FeedEvent> {
        let mut waiting = self.waiting();
        match waiting.events.pop_front() {
            Some(event) => {
                waiting.bytes -= event.bytes();
                Some(event)
            }
            None => mem::take(&mut waiting.missed).then_some(FeedEvent::Missed),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Listening = HashMap<(Realm, String), Vec<Arc<Listener>>>;

/// All who listen at this server.
#[derive(Debug)]
pub(super) struct Listeners {
    listening: Mutex<Registry>,
    most: usize,
}

#[derive(Debug, Default)]
struct Registry {
    count: usize,
    by_peer: Listening,
    by_topic: Listening,
}

impl Listeners {
    /// There may be so many.
    pub(super) fn new(most: usize) -> Self {
        Self { listening: Mutex::default(), most }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().count
    }

    pub(super) fn of_peer(&self, realm: &Realm, peer: &str) -> Vec<Arc<Listener>> {
        self.lock().by_peer.get(&(realm.clone(), peer.to_owned())).cloned().unwrap_or_default()
    }

    pub(super) fn of_topic(&self, realm: &Realm, topic: &str) -> Vec<Arc<Listener>> {
        self.lock().by_topic.get(&(realm.clone(), topic.to_owned())).cloned().unwrap_or_default()
    }

    /// Whether anybody follows any topic.
    pub(super) fn follow_any(&self) -> bool {
        !self.lock().by_topic.is_empty()
    }

    /// Some news were lost.
    pub(super) fn all_miss(&self) {
        self.lock().by_peer.values().flatten().for_each(|it| it.miss());
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener that is told until this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) listener: Arc<Listener>,
    pub(super) realm: Realm,
    pub(super) peer: String,
    topics: Vec<String>,
    among: Arc<Listeners>,
}

impl Registered {
    /// Registers a listener of a peer, who follows these topics, each named once.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when the peer, or all together, have as many as they may.
    pub(super) fn new(
        among: &Arc<Listeners>,
        realm: Realm,
        peer: String,
        topics: Vec<String>,
    ) -> Result<Self> {
        let listener = Arc::new(Listener::default());
        let mut registry = among.lock();
        if registry.count >= among.most {
            return Err(Error::new(ErrorKind::Unavailable, "Too many listeners. Try again later"));
        }
        let of_peer = registry.by_peer.entry((realm.clone(), peer.clone())).or_default();
        if of_peer.len() >= MAX_LISTENERS_OF_PEER {
            let what = format!("Too many listeners. Maximum {MAX_LISTENERS_OF_PEER} per peer");
            return Err(Error::new(ErrorKind::Unavailable, what));
        }
        of_peer.push(Arc::clone(&listener));
        registry.count += 1;
        for topic in &topics {
            let key = (realm.clone(), topic.clone());
            registry.by_topic.entry(key).or_default().push(Arc::clone(&listener));
        }
        drop(registry);
        Ok(Self { listener, realm, peer, topics, among: Arc::clone(among) })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut registry = self.among.lock();
        let Registry { count, by_peer, by_topic } = &mut *registry;
        let forget = |all: &mut Listening, name: &str| {
            let key = (self.realm.clone(), name.to_owned());
            if let Some(found) = all.get_mut(&key) {
                found.retain(|it| !Arc::ptr_eq(it, &self.listener));
                if found.is_empty() {
                    all.remove(&key);
                }
            }
        };
        *count -= 1;
        forget(by_peer, &self.peer);
        for topic in &self.topics {
            forget(by_topic, topic);
        }
    }
}
