//! What all routes share.

pub(crate) mod error;
pub(crate) mod extract;
mod probe;
pub(crate) mod reply;
mod request_id;
mod router;
mod routes;

pub(crate) use self::{
    error::ApiError,
    extract::{Authenticated, Body, Condition, IdPair, IdPath, ListQuery, PageQuery, RevisionPath},
    reply::{Created, Object},
    request_id::RequestId,
    routes::Routes,
};
pub use self::{
    router::{MAX_BODY_BYTES, http, routes},
    routes::{Needs, Route},
};
