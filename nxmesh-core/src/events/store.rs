use std::fmt::Debug;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Result, Trail,
    events::{Event, EventId},
};

/// What events ask of a database: the same one that holds what they tell of.
///
/// Events are recorded with the changes that they tell of, by the other contracts. Their ids
/// are in the order in which they can be read: whoever has read up to an id will never find
/// a smaller one later.
#[async_trait]
pub trait EventStore: Debug + Send + Sync + 'static {
    /// Records what goes with no change of rows.
    async fn record(&self, trail: Trail) -> Result<()>;

    /// Those after an id, in the order of their ids, `most` at most.
    async fn events_after(&self, after: EventId, most: usize) -> Result<Vec<Event>>;

    /// Which are there.
    async fn events_kept(&self) -> Result<EventsKept>;

    /// Drops the oldest, so that as many are left as `keep`. Answers how many it dropped.
    async fn drop_events(&self, keep: u64) -> Result<u64>;

    /// Changes whenever there may be events that were not there before, whoever recorded
    /// them; where another process may, at least once a second.
    fn watch_events(&self) -> watch::Receiver<u64>;
}

/// Which events are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventsKept {
    /// All after this id.
    pub after: EventId,
    /// Up to this one, the newest that there ever was; 0 if there was none.
    pub newest: EventId,
}
