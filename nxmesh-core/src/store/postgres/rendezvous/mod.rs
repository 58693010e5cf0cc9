//! Rendezvous in Postgres, for any number of servers.
//!
//! Tables and a version of its own (`rendezvous_...`), so that it may share a database with the store, or
//! not. Every change is a function of the database: one round trip, applied whole or not at all.
//!
//! - **Stamps** are counted up in the row of the peer they are for, which stays locked until
//!   what they are on can be read: whoever has read a stamp finds nothing new below it.
//! - **Figures** of topics and realms are kept, and no change waits for another one to count: it appends what is
//!   to be added, and a task adds it up soon after. Readers add what was not added up yet.
//! - **What has expired** counts nowhere, whether it was swept or not: readers take it off.
//! - **A caller that goes away** breaks off no call that was begun: what it changes is told of all the same.
//! - **Deadlocks** end in another try. They are rare: rows are locked in one order.

mod answer;
mod calls;
mod candidates;
#[cfg(all(test, feature = "conformance"))]
mod cost;
mod feed;
mod keys;
mod listing;
mod offers;
mod open;
mod publish;
mod rows;
mod store;
mod sweep;
mod text;
mod topics;
mod wire;

pub use self::open::PostgresRendezvous;
