//! The OpenAPI document. A route documents itself by the types of its handler, and by what its
//! line says; what follows from its rule, and what may happen to any request, is added for all.

mod document;
mod entry;
mod examples;
mod failures;
mod headers;
mod inputs;
mod links;
mod operation;
mod outputs;
mod patch;
mod schemas;

pub use self::document::document;
pub(crate) use self::{
    document::openapi,
    entry::{Entry, Place},
    operation::{Documented, Input, Operation, Output},
    schemas::Timestamp,
};
