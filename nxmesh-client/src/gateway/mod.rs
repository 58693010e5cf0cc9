//! Agents and what they serve.

mod agents;
mod revisions;
mod upstreams;
mod virtual_hosts;

pub use self::{
    agents::{AgentFilter, Agents, RegistrationToken},
    revisions::Revisions,
    upstreams::Upstreams,
    virtual_hosts::VirtualHosts,
};
