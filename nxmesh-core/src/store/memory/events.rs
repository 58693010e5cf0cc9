use async_trait::async_trait;
use tokio::sync::watch;

use super::{MemoryStore, state::State};
use crate::{
    Result, Trail,
    events::{Event, EventId, EventStore, EventsKept},
};

#[async_trait]
impl EventStore for MemoryStore {
    async fn record(&self, trail: Trail) -> Result<()> {
        self.lock().record(trail);
        self.local.recorded();
        Ok(())
    }

    async fn events_after(&self, after: EventId, most: usize) -> Result<Vec<Event>> {
        let state = self.lock();
        let first = state.events.partition_point(|it| it.id <= after);
        Ok(state.events.range(first..).take(most).cloned().collect())
    }

    async fn events_kept(&self) -> Result<EventsKept> {
        let State { events, newest_event: newest, .. } = &*self.lock();
        let after = events.front().map_or(newest.0, |it| it.id.0 - 1);
        Ok(EventsKept { after: EventId(after), newest: *newest })
    }

    async fn drop_events(&self, keep: u64) -> Result<u64> {
        let events = &mut self.lock().events;
        let keep = usize::try_from(keep.max(1)).unwrap_or(usize::MAX);
        let dropped = events.len().saturating_sub(keep);
        events.drain(..dropped);
        Ok(dropped as u64)
    }

    fn watch_events(&self) -> watch::Receiver<u64> {
        self.local.watch_events()
    }
}

impl State {
    /// Records what a change leaves behind.
    pub(super) fn record(&mut self, trail: Trail) {
        let Trail { entries, events } = trail;
        self.audit_log.extend(entries);
        for event in events {
            self.newest_event = EventId(self.newest_event.0 + 1);
            self.events.push_back(Event { id: self.newest_event, event });
        }
    }
}
