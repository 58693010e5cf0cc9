//! What all routes share.

#[cfg(feature = "docs")]
mod docs;
pub(crate) mod error;
pub(crate) mod extract;
mod idempotency;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod openapi;
mod probe;
pub(crate) mod reply;
mod request_id;
mod router;
mod routes;
mod settings;
mod watch;

pub(crate) use self::{
    error::ApiError,
    extract::{
        Authenticated, AuthenticatedByQuery, Body, Condition, Flag, IdPair, IdPath, ListQuery,
        PageQuery, Patch, RevisionPath,
    },
    limits::{Budget, LoginAllowed},
    reply::{Created, Located, Made, Object, Shown},
    request_id::RequestId,
    routes::Routes,
};
pub use self::{
    extract::MAX_BODY_BYTES,
    metrics::MoreFigures,
    openapi::document,
    router::{http, http_with, routes},
    routes::{Needs, Route},
    settings::HttpSettings,
};
