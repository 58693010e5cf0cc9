//! The backends of the storage contracts, a folder each.
//!
//! A contract lives with its area: [`TenancyStore`](crate::tenancy::TenancyStore),
//! [`GatewayStore`](crate::gateway::GatewayStore).

pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

mod local;
mod slug;
mod stores;

use self::slug::slug_taken;

pub use self::stores::Stores;
