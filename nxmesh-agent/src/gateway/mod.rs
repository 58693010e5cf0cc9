//! Bringing configurations to nginx.

mod apply;
mod attached;
mod attempt;
mod budget;
mod checks;
mod command;
mod drift;
mod engine;
mod error;
mod error_log;
mod generation;
mod ledger;
mod look;
mod manifest;
mod nginx;
mod orphans;
mod policy;
mod ports;
mod probe;
mod process;
mod quarantine;
mod recover;
mod reload;
mod teller;
mod traffic;
mod wanted;
mod workers;

pub use self::{budget::ReloadBudget, error::NginxError};
pub(crate) use self::{
    checks::{Checker, Checks},
    engine::{Engine, EngineHandle, EngineSettings, Running},
    nginx::Nginx,
    probe::Counters,
    teller::Report,
    traffic::TrafficCounter,
};
