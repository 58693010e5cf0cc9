//! Bringing configurations to nginx.

mod apply;
mod checks;
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
mod traffic;
mod wanted;

pub use self::error::NginxError;
pub(crate) use self::{
    checks::{Checker, Checks},
    engine::{Engine, EngineHandle, Report, Running},
    nginx::Nginx,
    probe::Counters,
    traffic::TrafficCounter,
};
