//! What all routes share.

pub(crate) mod error;
pub(crate) mod extract;
mod idempotency;
pub(crate) mod limits;
mod probe;
pub(crate) mod reply;
mod request_id;
mod router;
mod routes;
mod settings;

pub(crate) use self::{
    error::ApiError,
    extract::{
        Authenticated, AuthenticatedByQuery, Body, Condition, IdPair, IdPath, ListQuery, PageQuery,
        RevisionPath,
    },
    limits::{Budget, LoginAllowed},
    reply::{Created, Object, Shown},
    request_id::RequestId,
    routes::Routes,
};
pub use self::{
    router::{MAX_BODY_BYTES, http, http_with, routes},
    routes::{Needs, Route},
    settings::HttpSettings,
};
