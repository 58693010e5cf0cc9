//! What runs beside nginx: applies what the NxMesh control plane wants, proves
//! that nginx serves it, and reports.
//!
//! The agent needs no server to keep nginx serving, and nginx needs no agent: it
//! goes on when the agent dies, and the next agent takes it over.

mod agent;
mod disk;
mod faults;
mod gateway;
mod link;
mod state_dir;

pub use self::{
    agent::{Agent, AgentSettings, Mode, OnExit},
    gateway::{NginxError, ReloadBudget},
    state_dir::{StateDir, StateDirError},
};
