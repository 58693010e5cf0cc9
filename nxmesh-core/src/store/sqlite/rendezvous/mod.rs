//! Rendezvous in a SQLite file of its own.

mod answer;
mod candidates;
#[cfg(all(test, feature = "conformance"))]
mod counts;
mod listing;
mod open;
mod peers;
mod publish;
mod read;
mod store;
mod sweep;
mod sync;

pub use self::open::SqliteRendezvous;
