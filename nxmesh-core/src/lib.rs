//! The NxMesh control plane as a library.
//!
//! **To embed it**, begin at [`Mesh`]: one handle, from which the areas hang.
//! [`tenancy`] is who there is and what belongs to whom; [`gateway`] is agents and
//! what they serve. Peer signaling, `rendezvous` (a cargo feature), has a handle of its own, and needs
//! nothing of the rest.
//!
//! **To extend it**, implement the contracts: [`tenancy::TenancyStore`],
//! [`gateway::GatewayStore`], [`events::EventStore`], [`LeaseStore`] and [`IdempotencyStore`] for a
//! database, [`gateway::link`] for a transport, and
//! run the suites in `conformance` (a cargo feature) on them.
//!
//! **To test what you embed it in**, there are agents without an nginx in `simulated` (a feature too).

pub mod gateway;
pub mod tenancy;

#[cfg(feature = "rendezvous")]
pub mod rendezvous;

pub mod events;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod store;
pub mod transport;

pub mod directive;

#[cfg(feature = "openapi")]
pub mod openapi;

mod actor;
mod cache;
mod clock;
mod error;
mod etag;
mod figures;
mod housekeeping;
mod id;
mod idempotency;
mod lease;
mod mesh;
mod once;
mod page;
mod patch;
mod poll;
mod problems;
mod redact;
mod retention;
mod revision;
mod secret;
mod strict;
mod tasks;
mod text;
mod token;
mod trail;

pub use self::{
    actor::Actor,
    clock::{Clock, ManualClock, SystemClock},
    error::{Error, ErrorKind, FieldCode, FieldError, Result},
    etag::{ETag, IfMatch},
    figures::{AgentFigures, Distribution, EventFigures, Figures, StoreCalls},
    id::Id,
    idempotency::{Held, IdempotencyKey, IdempotencyStore, KeyedHash, Reservation},
    lease::LeaseStore,
    mesh::{Mesh, MeshBuilder},
    once::{Done, Once, Outcome},
    page::{Page, PageMeta, PageRequest},
    patch::{MergePatch, from_json},
    problems::{MAX_PROBLEMS, Malformed, Path, Problems},
    retention::Retention,
    revision::{Revision, RevisionNumber},
    secret::Secret,
    tasks::Tasks,
    token::TokenHash,
    trail::Trail,
};
