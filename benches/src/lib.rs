//! Real parts to test and measure with: server and agent as processes, nginx,
//! servers behind it, and clients that count.

mod agent;
mod backend;
mod clock;
mod disk;
mod faults;
mod load;
mod mesh;
mod namespace;
mod nginx;
mod ports;
mod process;
mod proxy;
mod samples;
mod server;
mod times;

pub use self::{
    agent::{AgentProcess, Surroundings},
    backend::Backend,
    clock::FakeClock,
    disk::SmallDisk,
    faults::{Faults, Point},
    load::{Load, Tally},
    mesh::TestMesh,
    namespace::Namespace,
    nginx::{NginxBinary, get, wait_for},
    ports::free_port,
    process::{Process, binary},
    proxy::Proxy,
    samples::{agent_token, files_host},
    server::{MASTER_KEY, ServerProcess},
    times::Times,
};
pub use nxmesh_core::simulated::{Confirmed, SimulatedAgent};
