//! Events: what happened, in one order for all who watch.
//!
//! They are written to the store with what they tell of, so none is lost and none tells of
//! what did not happen. Each server reads them from there, in the order of their ids, so that
//! all servers of one store show the same.

mod event;
mod filter;
mod store;

mod area;
mod log;
mod subscription;

pub use self::{
    area::Events,
    event::{Event, EventId, EventType, NewEvent},
    filter::{EventFilter, EventPattern},
    log::EVENTS_AT_HAND,
    store::{EventStore, EventsKept},
    subscription::{Delivery, MAX_SUBSCRIBERS, MAX_WANTED, Subscription},
};
