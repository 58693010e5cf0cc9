//! The newest events of the store, at hand for all who watch.

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    Clock, EventFigures, Result, Tasks,
    events::{Event, EventId, EventStore, EventsKept},
    figures::{Buckets, MICROS},
};

/// How many of the newest events are at hand. Whoever watches and falls further behind is
/// told that they missed some.
pub const EVENTS_AT_HAND: usize = 10_000;
/// How many are read from the store at a time.
const PAGE: usize = 1000;
/// Events that come closer together than this are handed on as one.
const FOLD: Duration = Duration::from_millis(5);
/// How long to wait before asking a store again that did not answer.
const RETRY: Duration = Duration::from_millis(500);
/// How often to see whether the store has lost events: a replica took over that had not them all.
const LOOK_BACK: Duration = Duration::from_secs(5);
/// How many replays read from the store at a time.
const REPLAYS: usize = 4;

/// Reads the store once for all.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    at_hand: RwLock<AtHand>,
    newest: watch::Sender<EventId>,
    watching: AtomicUsize,
    replays: Semaphore,
    /// How long after they happened events were at hand, in microseconds.
    lag: Buckets,
}

/// All events after one.
#[derive(Debug)]
struct AtHand {
    after: EventId,
    events: VecDeque<Arc<Event>>,
}

/// What is at hand after an event.
pub(super) enum Read {
    /// These, and perhaps more.
    Events(Vec<Arc<Event>>),
    /// All after this one only.
    From(EventId),
    /// Nothing.
    Nothing,
}

/// Somebody who watches; counted until dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Log {
    pub(super) async fn open(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>) -> Result<Self> {
        let EventsKept { newest, .. } = store.events_kept().await?;
        let shared = Shared {
            at_hand: RwLock::new(AtHand { after: newest, events: VecDeque::new() }),
            newest: watch::Sender::new(newest),
            watching: AtomicUsize::new(0),
            replays: Semaphore::new(REPLAYS),
            lag: Buckets::of_micros(),
        };
        Ok(Self { store, clock, shared: Arc::new(shared) })
    }

    /// Takes a place among those who watch, if there are less than `most`.
    pub(super) fn take_place(&self, most: usize) -> Option<Place> {
        let watching = &self.shared.watching;
        let room = |count: usize| (count < most).then_some(count + 1);
        let taken = watching.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.ok().map(|_| Place(Arc::clone(&self.shared)))
    }

    /// How many watch.
    pub(super) fn watching(&self) -> usize {
        self.shared.watching.load(Ordering::Relaxed)
    }

    pub(super) fn figures(&self) -> EventFigures {
        let watching = self.watching() as u64;
        EventFigures { watching, lag: self.shared.lag.read(MICROS) }
    }

    /// The newest, and each later newest.
    pub(super) fn newest(&self) -> watch::Receiver<EventId> {
        self.shared.newest.subscribe()
    }

    /// What is at hand after an event, `most` at most.
    pub(super) fn read(&self, after: EventId, most: usize) -> Read {
        let at_hand = self.shared.at_hand.read().unwrap_or_else(PoisonError::into_inner);
        if after < at_hand.after {
            return Read::From(at_hand.after);
        }
        let first = at_hand.events.partition_point(|it| it.id <= after);
        let found: Vec<_> = at_hand.events.range(first..).take(most).cloned().collect();
        if found.is_empty() { Read::Nothing } else { Read::Events(found) }
    }

    /// What the store still has after an event, and how many before that it has not.
    pub(super) async fn replay(&self, after: EventId) -> Result<(u64, Vec<Arc<Event>>)> {
        // It is never closed.
        let _turn = self.shared.replays.acquire().await;
        let kept = self.store.events_kept().await?;
        let events = self.store.events_after(after, PAGE).await?;
        let missed = kept.after.0.saturating_sub(after.0);
        Ok((missed, events.into_iter().map(Arc::new).collect()))
    }

    /// Reads what is new, until told to stop.
    pub(super) async fn follow(self, tasks: Tasks) {
        let mut ticks = self.store.watch_events();
        let mut looked_back = Instant::now();
        loop {
            let read = async {
                self.catch_up().await?;
                if looked_back.elapsed() >= LOOK_BACK {
                    looked_back = Instant::now();
                    self.look_back().await?;
                }
                tokio::time::sleep(FOLD).await;
                Ok::<_, crate::Error>(())
            };
            let read = tokio::select! {
                read = read => read,
                () = tasks.stopping().cancelled() => return,
            };
            let again = async {
                match read {
                    Ok(()) => drop(ticks.changed().await),
                    Err(error) => {
                        tracing::debug!(%error, "cannot read events; will be tried again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            tokio::select! {
                () = again => {}
                () = tasks.stopping().cancelled() => return,
            }
        }
    }

    async fn catch_up(&self) -> Result<()> {
        loop {
            let newest = *self.shared.newest.borrow();
            let events = self.store.events_after(newest, PAGE).await?;
            let Some(last) = events.last().map(|it| it.id) else { return Ok(()) };
            let now = self.clock.now();
            for event in &events {
                let lag = (now - event.event.timestamp).num_microseconds().unwrap_or_default();
                // Another server's clock may be ahead.
                self.shared.lag.count(lag.try_into().unwrap_or_default());
            }
            let mut at_hand = self.shared.at_hand.write().unwrap_or_else(PoisonError::into_inner);
            at_hand.events.extend(events.into_iter().map(Arc::new));
            while at_hand.events.len() > EVENTS_AT_HAND {
                at_hand.after = at_hand.events.pop_front().map_or(at_hand.after, |it| it.id);
            }
            drop(at_hand);
            self.shared.newest.send_replace(last);
        }
    }

    /// Begins anew where the store now ends, should that be before what was read.
    async fn look_back(&self) -> Result<()> {
        let EventsKept { newest, .. } = self.store.events_kept().await?;
        if newest >= *self.shared.newest.borrow() {
            return Ok(());
        }
        tracing::warn!(%newest, "the store went back to an older event");
        let mut at_hand = self.shared.at_hand.write().unwrap_or_else(PoisonError::into_inner);
        *at_hand = AtHand { after: newest, events: VecDeque::new() };
        drop(at_hand);
        self.shared.newest.send_replace(newest);
        Ok(())
    }
}
