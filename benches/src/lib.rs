//! Real parts to test and measure with: server and agent as processes, nginx,
//! servers behind it, and clients that count.

mod agent;
mod backend;
mod browser;
mod clock;
mod disk;
mod faults;
mod hello;
mod load;
mod mesh;
mod namespace;
mod nginx;
mod ports;
mod process;
mod proxy;
mod repeat;
mod samples;
mod server;
mod signaling;
mod times;
mod usage;
mod wire;

pub use self::{
    agent::{AgentProcess, Surroundings},
    backend::Backend,
    browser::Browser,
    clock::FakeClock,
    disk::SmallDisk,
    faults::{Faults, Point},
    hello::Hello,
    load::{Load, Tally},
    mesh::TestMesh,
    namespace::Namespace,
    nginx::{NginxBinary, get, wait_for},
    ports::free_port,
    process::{Process, binary},
    proxy::Proxy,
    repeat::{Met, repeat},
    samples::{agent_token, files_host},
    server::{MASTER_KEY, ServerProcess},
    signaling::{Peer, ask, field, session_description},
    times::Times,
    usage::{busy, memory},
    wire::{Reply, Wire, request, request_for},
};
pub use nxmesh_core::simulated::{Confirmed, SimulatedAgent};
