//! What an OpenAPI document needs to know beyond what the types say by themselves.

mod limits;
mod patterns;

pub use self::limits::{limits, texts};
