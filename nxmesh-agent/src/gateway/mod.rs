//! Bringing configurations to nginx.

mod command;
mod engine;
mod error;
mod error_log;
mod generation;
mod nginx;
mod orphans;
mod probe;
mod process;
mod reload;

pub use self::error::NginxError;
pub(crate) use self::{
    engine::{Engine, EngineHandle, Report, Running},
    nginx::Nginx,
    probe::Counters,
};
