//! The NxMesh control plane as a library.

pub mod gateway;
pub mod tenancy;

pub mod directive;

mod actor;
mod clock;
mod error;
mod id;
mod page;
mod patch;
mod problems;
mod revision;
mod secret;
mod text;

pub use self::{
    actor::Actor,
    clock::{Clock, ManualClock, SystemClock},
    error::{Error, ErrorKind, FieldCode, FieldError, Result},
    id::Id,
    page::{Page, PageMeta, PageRequest},
    patch::{MergePatch, from_json},
    problems::{MAX_PROBLEMS, Malformed, Path, Problems},
    revision::{Revision, RevisionNumber},
    secret::Secret,
};
