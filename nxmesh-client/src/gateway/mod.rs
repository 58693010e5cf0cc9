//! Agents and what they serve.

mod agents;
mod changes;
mod revisions;
mod rollouts;
mod upstreams;
mod virtual_hosts;

pub use self::{
    agents::{AgentFilter, Agents, RegistrationToken},
    changes::Changes,
    revisions::Revisions,
    rollouts::Rollouts,
    upstreams::Upstreams,
    virtual_hosts::VirtualHosts,
};
