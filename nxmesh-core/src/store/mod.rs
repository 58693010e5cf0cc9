//! The backends of the storage contracts, a folder each.
//!
//! A contract lives with its area: [`TenancyStore`](crate::tenancy::TenancyStore),
//! [`GatewayStore`](crate::gateway::GatewayStore), [`EventStore`](crate::events::EventStore). Those
//! of no area are at the root: [`LeaseStore`](crate::LeaseStore),
//! [`IdempotencyStore`](crate::IdempotencyStore).

pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

mod check;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod codec;
mod local;
mod settings;
mod slug;
mod stores;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod tables;
mod timed;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod transfer;

#[cfg(feature = "rendezvous")]
pub(crate) use self::timed::timed_rendezvous;
use self::{check::check_trail, slug::slug_taken};
pub(crate) use self::{settings::last_settings, timed::timed};

/// How many rows are dropped together at most, so that nobody else waits for long.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const TOGETHER: u64 = 1000;

pub use self::stores::Stores;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::transfer::{Archive, transfer};
