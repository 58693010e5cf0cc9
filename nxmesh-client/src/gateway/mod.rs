//! Agents and what they serve.

mod agents;
mod upstreams;
mod virtual_hosts;

pub use self::{
    agents::{AgentFilter, Agents, RegistrationToken},
    upstreams::Upstreams,
    virtual_hosts::VirtualHosts,
};
