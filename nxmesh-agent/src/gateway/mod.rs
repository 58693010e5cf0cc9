//! Bringing configurations to nginx.

mod apply;
mod command;
mod engine;
mod error;
mod error_log;
mod generation;
mod nginx;
mod orphans;
mod probe;
mod process;
mod recover;
mod reload;
mod wanted;

pub use self::error::NginxError;
pub(crate) use self::{
    engine::{Engine, EngineHandle, Report, Running},
    nginx::Nginx,
    probe::Counters,
};
