use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Delivery, FeedEvent, Millis, RendezvousStore,
    listener::{Listener, Registered},
};
use crate::{Clock, Result};

/// How many deliveries are read together at most.
const TOGETHER: u32 = 100;
/// How large the deliveries may be that are at hand for one listener, but for the first of them.
const MAX_READY_BYTES: usize = 256 * 1024;
/// A listener that hears nothing looks so often whether something reached it: news may be lost.
const LOOK: Duration = Duration::from_secs(30);

/// What one listener is told. Holds nothing that a slow reader could let grow.
#[derive(Debug)]
pub struct Subscription {
    registered: Registered,
    store: Arc<dyn RendezvousStore>,
    clock: Arc<dyn Clock>,
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
    pub(super) fn new(
        registered: Registered,
        store: Arc<dyn RendezvousStore>,
        clock: Arc<dyn Clock>,
        since: Millis,
    ) -> Self {
        // What came before.
        registered.listener.look();
        let (ready, look_at) = (VecDeque::new(), Instant::now() + LOOK);
        Self { registered, store, clock, since, ready, together: TOGETHER, look_at }
    }

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
            let listener = &self.registered.listener;
            if listener.is_to_look() {
                let unseen = Unseen(Some(Arc::clone(listener)));
                self.look().await?;
                unseen.seen();
                continue;
            }
            if let Some(event) = listener.take() {
                return Ok(event);
            }
            // Whoever asks may give up before, each time.
            if timeout_at(self.look_at, listener.wake.notified()).await.is_err() {
                listener.look();
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        let Registered { listener, realm, peer, .. } = &self.registered;
        let (now, most) = (self.clock.now().timestamp_millis(), self.together);
        let mut read = self.store.deliveries(realm, peer, self.since, most, now).await?;
        let all = read.len();
        let mut bytes = 0;
        let fit = read.iter().take_while(|it| {
            bytes += it.bytes();
            bytes <= MAX_READY_BYTES
        });
        read.truncate(fit.count().max(1));
        let fewer = u32::try_from(read.len()).unwrap_or(TOGETHER);
        self.together = if read.len() < all { fewer } else { TOGETHER.min(most * 2) };
        if all == most as usize || read.len() < all {
            // There may be more.
            listener.look();
        }
        self.ready = read.into();
        self.look_at = Instant::now() + LOOK;
        Ok(())
    }
}
