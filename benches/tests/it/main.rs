//! All parts together: the reference server and agent as processes, a real nginx.

mod apply;
mod checks;
mod cluster;
mod config;
mod drift;
mod events;
mod faults;
mod idempotency;
mod journal;
mod kills;
mod load;
mod logins;
mod matrix;
mod outage;
mod partition;
mod programs;
mod quarantine;
mod real_rollout;
mod reloads;
mod rollouts;
mod schemathesis;
mod secrets;
mod simulate_fleet;
mod tls;
