//! What all routes share.

pub(crate) mod error;
pub(crate) mod extract;
mod probe;
pub(crate) mod reply;
mod request_id;
mod router;

pub use self::router::{MAX_BODY_BYTES, http};
pub(crate) use self::{
    error::ApiError,
    extract::{Authenticated, Body, Condition, IdPath, ListQuery, PageQuery},
    reply::{Created, Object},
};
