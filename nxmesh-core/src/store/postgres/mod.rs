//! Everything in one Postgres database, for any number of servers.
//!
//! Every call is one statement, atomic by itself: no transaction is ever open between two
//! round trips, so a call that is given up leaves nothing behind. What other servers did
//! comes by `NOTIFY`, and by polling what a notification that was lost would have said.

mod connections;
mod database;
mod error;
mod events;
mod feed;
mod gateway;
mod idempotency;
mod leases;
mod logins;
mod migrate;
mod open;
mod organizations;
#[cfg(feature = "rendezvous")]
mod rendezvous;
mod rollouts;
mod rows;
mod tenancy;
mod transfer;
mod workspaces;

use std::time::Duration;

pub use self::open::{PostgresOptions, PostgresStore};
#[cfg(feature = "rendezvous")]
pub use self::rendezvous::PostgresRendezvous;

/// How often to look for what a lost notification would have said.
const POLL: Duration = Duration::from_secs(1);
