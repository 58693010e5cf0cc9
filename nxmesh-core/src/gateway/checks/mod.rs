//! What agents tell of the servers behind them and of what was answered, and how that is shown.

mod server_checks;
mod upstream_health;

pub use self::{
    server_checks::{
        MAX_CHECK_ERROR, MAX_COUNTED_HOSTS, MAX_TOLD_SERVERS, ServerCheck, ServerChecks,
        ServerState, Traffic,
    },
    upstream_health::{AgentCheck, MAX_SHOWN_AGENTS, ServerHealth, UpstreamHealth},
};
