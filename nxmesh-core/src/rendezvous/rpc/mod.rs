//! The protocol `rpc`: batches of calls, each signed with the key of its caller.
//!
//! [`Rpc`] answers the text of a batch with text; it knows nothing of HTTP. What is written in a
//! batch is read once, into an operation that is valid; signatures
//! are checked on the way, and the nonces of all calls are used by one call of the store.

mod auth;
mod batch;
mod call;
mod candidates;
mod discover;
mod error;
mod limits;
mod listener;
mod offers;
mod operation;
mod params;
mod prepare;
mod tags;

pub(super) use self::limits::MAX_READING;
pub use self::{
    auth::RpcHeaders,
    batch::{Rpc, RpcAnswer, RpcVerdict},
    error::RpcErrorCode,
};
