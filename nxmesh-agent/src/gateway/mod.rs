//! Bringing configurations to nginx.

mod apply;
mod attempt;
mod command;
mod engine;
mod error;
mod error_log;
mod generation;
mod nginx;
mod orphans;
mod ports;
mod probe;
mod process;
mod quarantine;
mod recover;
mod reload;
mod teller;
mod wanted;

pub use self::error::NginxError;
pub(crate) use self::{
    engine::{Engine, EngineHandle, Running},
    nginx::Nginx,
    probe::Counters,
    teller::Report,
};
