//! Agents and what they serve.

mod agents;
mod changes;
mod revisions;
mod upstreams;
mod virtual_hosts;

pub use self::{
    agents::{AgentFilter, Agents, RegistrationToken},
    changes::Changes,
    revisions::Revisions,
    upstreams::Upstreams,
    virtual_hosts::VirtualHosts,
};
