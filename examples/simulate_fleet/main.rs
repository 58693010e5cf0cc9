//! A fleet of agents without nginx, and what becomes of it when some of them fail: each second a
//! line says how far the fleet is. Every other change meets the faults that the flags switch on.
//!
//! `cargo run --release --example simulate_fleet -- --agents 200 --refuse 5 --die 10`, or with
//! `--rollout --fail 20` to see a rollout halt. It brings a control plane of its own; `--server`
//! and `--grpc` name one that runs.

mod faults;
mod fleet;
mod own_server;

use anyhow::{Context, Result, bail};
use clap::{Parser, value_parser};
use nxmesh_client::Client;

use crate::{
    faults::Faults,
    fleet::Fleet,
    own_server::{EMAIL, OwnServer},
};

#[derive(Parser)]
pub(crate) struct Args {
    /// How many agents
    #[arg(long, default_value_t = 100)]
    pub(crate) agents: usize,
    /// How many virtual hosts they serve
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u16).range(1..=100))]
    pub(crate) hosts: u16,
    /// Seconds from one change to the next; in rollouts, from the end of one
    #[arg(long, default_value_t = 5)]
    pub(crate) every: u64,
    /// End after so many changes, once all agents serve what they should
    #[arg(long)]
    pub(crate) changes: Option<usize>,
    /// Changes go out by rollouts: to the canaries, to half, to the rest
    #[arg(long)]
    pub(crate) rollout: bool,
    /// Seconds that the canaries of a rollout soak
    #[arg(long, default_value_t = 4)]
    pub(crate) soak: u64,
    /// The REST API of a control plane that runs, instead of one of its own: http://HOST:PORT
    #[arg(long, requires = "grpc", requires = "password")]
    pub(crate) server: Option<String>,
    /// Where agents dial it: http://HOST:PORT
    #[arg(long, requires = "server")]
    pub(crate) grpc: Option<String>,
    /// Whom to log in as there
    #[arg(long, default_value = EMAIL)]
    pub(crate) email: String,
    /// Their password
    #[arg(long, env = "NXMESH_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    #[command(flatten)]
    pub(crate) faults: Faults,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if args.agents == 0 {
        bail!("--agents must be 1 at least");
    }
    let (server, grpc, password, own) = match (&args.server, &args.grpc, &args.password) {
        (Some(server), Some(grpc), Some(password)) => {
            (server.clone(), grpc.clone(), password.clone(), None)
        }
        _ => {
            let own = OwnServer::start().await?;
            (own.http.clone(), own.grpc.clone(), own.password.clone(), Some(own))
        }
    };
    // An agent by gRPC is a socket here, and one at a control plane in this process.
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, files)?;
    let client = Client::new(&server)?;
    client.auth().login(&args.email, &password).await.context("cannot log in")?;
    println!("REST on {server}, agents on {grpc}");
    if own.is_some() {
        println!("log in as {EMAIL} with {password}; all of it is gone when this ends");
    }
    let mut fleet = Fleet::start(&args, client, &grpc).await?;
    let ran = tokio::select! {
        ran = fleet.run(&args) => ran,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let ran = ran.and(fleet.end().await);
    if let Some(own) = own {
        own.mesh.shutdown().await;
    }
    ran
}
