//! What reaches peers, pushed to those that listen at this server.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    time::{Instant, timeout_at},
};

use super::{Delivery, Millis, Offer, Realm, RendezvousNews, RendezvousStore};
use crate::{Clock, Result, Tasks};

/// How many deliveries are read together at most.
const TOGETHER: u32 = 100;
/// How large the deliveries may be that are at hand for one listener, but for the first of them.
const MAX_READY_BYTES: usize = 256 * 1024;
/// How many events that are in no store may wait for one listener.
const MAX_WAITING: usize = 64;
/// How large these may be, but for the first of them.
const MAX_WAITING_BYTES: usize = 512 * 1024;
/// How many topics one listener may follow.
pub const MAX_FOLLOWED: usize = 50;
/// A listener that hears nothing looks so often whether something reached it: news may be lost.
const LOOK: Duration = Duration::from_secs(30);

/// Who listens at this server.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

/// Something that a listener is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// Something reached the peer. None is missed, and none told twice.
    Delivery(Delivery),
    /// An offer of the peer expired.
    Expired {
        /// Its name.
        offer: String,
    },
    /// There is a new offer in a topic that is followed.
    Published {
        /// Which topic.
        topic: String,
        /// The offer.
        offer: Arc<Offer>,
    },
    /// Some of what is not a delivery was missed, because it came too fast or news were lost: list the topics, and
    /// the peer's own offers, again.
    Missed,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn RendezvousStore>,
    clock: Arc<dyn Clock>,
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    by_peer: HashMap<(Realm, String), Vec<Arc<Listener>>>,
    by_topic: HashMap<(Realm, String), Vec<Arc<Listener>>>,
}

#[derive(Debug)]
struct Listener {
    wake: Notify,
    /// Something may have reached the peer.
    look: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<FeedEvent>,
    bytes: usize,
    missed: bool,
}

impl FeedEvent {
    /// How large it is, about.
    fn bytes(&self) -> usize {
        match self {
            Self::Delivery(delivery) => delivery.bytes(),
            Self::Published { topic: _, offer } => offer.sdp.len(),
            Self::Expired { .. } | Self::Missed => 0,
        }
    }
}

impl Listener {
    fn look(&self) {
        self.look.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn tell(&self, event: FeedEvent) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
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

    fn missed(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).missed = true;
        self.look();
    }

    fn take(&self) -> Option<FeedEvent> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.events.pop_front() {
            Some(event) => {
                waiting.bytes -= event.bytes();
                Some(event)
            }
            None => mem::take(&mut waiting.missed).then_some(FeedEvent::Missed),
        }
    }
}

impl Feed {
    pub(super) fn start(
        store: Arc<dyn RendezvousStore>,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Self {
        let shared = Arc::new(Shared { store, clock, listeners: Mutex::default() });
        let (hearing, stopping) = (Arc::clone(&shared), tasks.stopping().clone());
        tasks.spawn(async move {
            tokio::select! {
                () = hearing.hear() => {}
                () = stopping.cancelled() => {}
            }
        });
        Self(shared)
    }

    /// What reaches a peer after this stamp, and new offers of some topics from now on; of more topics than
    /// [`MAX_FOLLOWED`] the first ones.
    #[must_use]
    pub fn subscribe(
        &self,
        realm: Realm,
        peer: String,
        since: Millis,
        mut topics: Vec<String>,
    ) -> Subscription {
        topics.truncate(MAX_FOLLOWED);
        topics.sort_unstable();
        topics.dedup();
        let listener = Arc::new(Listener {
            wake: Notify::new(),
            look: AtomicBool::new(true),
            waiting: Mutex::default(),
        });
        let mut listeners = self.0.lock();
        let key = (realm.clone(), peer.clone());
        listeners.by_peer.entry(key).or_default().push(Arc::clone(&listener));
        for topic in &topics {
            let key = (realm.clone(), topic.clone());
            listeners.by_topic.entry(key).or_default().push(Arc::clone(&listener));
        }
        drop(listeners);
        let (shared, ready) = (Arc::clone(&self.0), VecDeque::new());
        let (together, look_at) = (TOGETHER, Instant::now() + LOOK);
        Subscription { shared, listener, realm, peer, topics, since, ready, together, look_at }
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.0.lock().by_peer.values().map(Vec::len).sum()
    }
}

/// What one listener is told. Holds nothing that a slow reader could let grow.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    listener: Arc<Listener>,
    realm: Realm,
    peer: String,
    topics: Vec<String>,
    since: Millis,
    ready: VecDeque<Delivery>,
    /// How many deliveries are read next: fewer, where they were large.
    together: u32,
    /// When to look, if nothing was heard.
    look_at: Instant,
}

/// What was to be looked at still is, unless it was seen.
struct Unseen(Option<Arc<Listener>>);

impl Unseen {
    fn seen(mut self) {
        self.0 = None;
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(listener) = &self.0 {
            listener.look();
        }
    }
}

impl Subscription {
    /// The next event, when there is one. Whoever does not wait for it misses nothing: the next call goes on.
    ///
    /// # Errors
    /// Those of the store; the next call tries again.
    pub async fn next(&mut self) -> Result<FeedEvent> {
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                self.since = delivery.stamp;
                return Ok(FeedEvent::Delivery(delivery));
            }
            if self.listener.look.swap(false, Ordering::AcqRel) {
                let unseen = Unseen(Some(Arc::clone(&self.listener)));
                self.look().await?;
                unseen.seen();
                continue;
            }
            if let Some(event) = self.listener.take() {
                return Ok(event);
            }
            // Whoever asks may give up before, each time.
            if timeout_at(self.look_at, self.listener.wake.notified()).await.is_err() {
                self.listener.look.store(true, Ordering::Release);
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        let Shared { store, clock, .. } = self.shared.as_ref();
        let now = clock.now().timestamp_millis();
        let (since, most) = (self.since, self.together);
        let mut read = store.deliveries(&self.realm, &self.peer, since, most, now).await?;
        if read.len() == most as usize {
            // There may be more.
            self.listener.look.store(true, Ordering::Release);
        }
        let all = read.len();
        let mut bytes = 0;
        let fit = read.iter().take_while(|it| {
            bytes += it.bytes();
            bytes <= MAX_READY_BYTES
        });
        read.truncate(fit.count().max(1));
        self.together = if read.len() < all {
            self.listener.look.store(true, Ordering::Release);
            u32::try_from(read.len()).unwrap_or(TOGETHER)
        } else {
            TOGETHER.min(most * 2)
        };
        self.ready = read.into();
        self.look_at = Instant::now() + LOOK;
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.shared.lock();
        let Listeners { by_peer, by_topic } = &mut *listeners;
        let forget = |map: &mut HashMap<_, Vec<Arc<Listener>>>, name: &str| {
            let key = (self.realm.clone(), name.to_owned());
            if let Some(found) = map.get_mut(&key) {
                found.retain(|it| !Arc::ptr_eq(it, &self.listener));
                if found.is_empty() {
                    map.remove(&key);
                }
            }
        };
        forget(by_peer, &self.peer);
        for topic in &self.topics {
            forget(by_topic, topic);
        }
    }
}

impl Shared {
    async fn hear(&self) {
        let mut news = self.store.news();
        loop {
            match news.recv().await {
                Ok(news) => self.route(news).await,
                Err(RecvError::Lagged(_)) => self.route(RendezvousNews::Missed).await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn route(&self, news: RendezvousNews) {
        match news {
            RendezvousNews::Delivered { realm, to } => {
                let key = (realm, to.to_string());
                for listener in self.lock().by_peer.get(&key).into_iter().flatten() {
                    listener.look();
                }
            }
            RendezvousNews::Published { realm, offers } => {
                if self.lock().by_topic.is_empty() {
                    return;
                }
                for (id, topics) in offers.iter() {
                    self.announce(&realm, id, topics).await;
                }
            }
            RendezvousNews::Expired(expired) => {
                let listeners = self.lock();
                for it in expired.iter() {
                    let key = (it.realm.clone(), it.peer.clone());
                    for listener in listeners.by_peer.get(&key).into_iter().flatten() {
                        listener.tell(FeedEvent::Expired { offer: it.id.clone() });
                    }
                }
            }
            RendezvousNews::Missed => {
                self.lock().by_peer.values().flatten().for_each(|it| it.missed());
            }
        }
    }

    /// Tells those who follow one of the topics. The offer is read once for all.
    async fn announce(&self, realm: &Realm, id: &str, topics: &[String]) {
        let mut told: Vec<(String, Vec<Arc<Listener>>)> = Vec::new();
        {
            let listeners = self.lock();
            for topic in topics {
                let found = listeners.by_topic.get(&(realm.clone(), topic.clone()));
                told.extend(found.map(|it| (topic.clone(), it.clone())));
            }
        }
        if told.is_empty() {
            return;
        }
        let offer = self.store.offer(realm, id, self.clock.now().timestamp_millis()).await;
        let offer = match offer {
            Ok(Some(offer)) if offer.answered.is_none() => Arc::new(offer),
            // It is gone already.
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot tell of a new offer");
                told.iter().flat_map(|(_, it)| it).for_each(|it| it.missed());
                return;
            }
        };
        for (topic, listeners) in told {
            for listener in listeners {
                let offer = Arc::clone(&offer);
                listener.tell(FeedEvent::Published { topic: topic.clone(), offer });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
