//! A fleet that loses its server, and comes back as one: how long until each agent is proven to
//! serve what it should, how long a change takes to reach all, and what an agent costs the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use nxmesh_benches::{Confirmed, ServerProcess, SimulatedAgent, Times, agent_token, files_host};
use nxmesh_client::Client;
use nxmesh_core::{
    MergePatch,
    conformance::postgres::{Cluster, Database, Durability},
    gateway::VirtualHostId,
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
    transport::grpc::GrpcConnector,
};
use serde_json::json;
use tokio::sync::mpsc;

/// How long to wait for what should have happened long before.
const PATIENCE: Duration = Duration::from_secs(180);
/// How many tokens are asked for at a time.
const AT_ONCE: usize = 32;

#[derive(Parser)]
struct Args {
    /// How many agents
    #[arg(long, default_value_t = 5000)]
    agents: usize,
    /// How many changes are made
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// How often an agent reports, in seconds
    #[arg(long, default_value_t = 10)]
    heartbeat: u64,
    /// Measure a server on Postgres too
    #[arg(long)]
    postgres: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let heartbeat = args.heartbeat.to_string();
    let more = ["--heartbeat-seconds", &heartbeat];
    let sqlite = ServerProcess::start_with(&folder.path().join("sqlite"), &more).await?;
    measure("SQLite", sqlite, &args).await?;
    if args.postgres {
        let cluster = Cluster::start(Durability::Full);
        let database = Database::create_on(cluster.url("postgres")).await;
        let more = [&more[..], &["--store", database.url()]].concat();
        let postgres = ServerProcess::start_with(&folder.path().join("postgres"), &more).await?;
        measure("Postgres", postgres, &args).await?;
    }
    Ok(())
}

/// A fleet, and the server it is at.
struct Given {
    server: ServerProcess,
    client: Client,
    host: VirtualHostId,
    confirmed: mpsc::Receiver<Confirmed>,
    agents: Vec<SimulatedAgent>,
}

async fn measure(store: &str, server: ServerProcess, args: &Args) -> Result<()> {
    println!("{store}: {} agents by gRPC, a heartbeat each {} s", args.agents, args.heartbeat);
    let mut given = given(server, args).await?;
    let before = given.resident()?;

    given.connect(args.agents).await?;
    let connected = given.resident()?;
    let each = (connected - before) / args.agents as f64;
    println!(
        "  memory of the server: {each:.1} KiB an agent, {:.0} MiB in all",
        connected / 1024.0
    );

    let began = Instant::now();
    given.server.kill_and_restart().await?;
    let up = began.elapsed();
    let version = given.change("reconnected").await?;
    given.drain(args.agents, version).await?;
    given.settled(args.agents).await?;
    let (all, resident) = (began.elapsed() - up, given.resident()?);
    println!(
        "  killed, up again after {:.1} s: all reconnected and verified {:.1} s later, {:.0} MiB",
        up.as_secs_f64(),
        all.as_secs_f64(),
        resident / 1024.0,
    );

    let (mut answered, mut times) = (Vec::new(), Vec::new());
    for number in 0..args.changes {
        let began = Instant::now();
        let version = given.change(&number.to_string()).await?;
        answered.push(began.elapsed());
        let told = given.drain(args.agents, version).await?;
        let began = tokio::time::Instant::from_std(began);
        times.extend(told.into_iter().map(|it| it.saturating_duration_since(began)));
    }
    let (answered, times) = (Times::of(answered), Times::of(times));
    println!("  {} changes, one after the other:", args.changes);
    println!(
        "    answered:                         p50 {:.0} ms, p99 {:.0} ms",
        answered.ms(0.5),
        answered.ms(0.99)
    );
    println!(
        "    confirmed, since they were asked: p50 {:.0} ms, p99 {:.0} ms, all after {:.0} ms",
        times.ms(0.5),
        times.ms(0.99),
        times.ms(1.0)
    );
    Ok(())
}

async fn given(server: ServerProcess, args: &Args) -> Result<Given> {
    let client = server.client().await?;
    let organization = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = client.organizations().create(&organization).await?;
    let workspace =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    let workspace = client.workspaces().create(organization.id, &workspace).await?.id;
    let host = client.virtual_hosts().create(workspace, &files_host("shop.example")).await?.id;
    let tokens = stream::iter(0..args.agents).map(|number| token(&client, workspace, number));
    let tokens: Vec<_> = tokens.buffered(AT_ONCE).try_collect().await?;
    let (confirm, confirmed) = mpsc::channel(args.agents);
    let mut agents = Vec::new();
    for token in tokens {
        let connector = Arc::new(GrpcConnector::new(&server.grpc())?);
        agents.push(SimulatedAgent::start(connector, token, Some(confirm.clone())));
    }
    Ok(Given { server, client, host, confirmed, agents })
}

async fn token(
    client: &Client,
    workspace: WorkspaceId,
    number: usize,
) -> Result<nxmesh_core::Secret<String>> {
    let new = agent_token(&format!("agent {number}"));
    Ok(client.agents().create_token(workspace, &new).await?.token)
}

impl Given {
    /// Waits until all agents are there.
    async fn connect(&mut self, agents: usize) -> Result<()> {
        let began = Instant::now();
        self.drain(agents, 0).await?;
        self.settled(agents).await?;
        println!("  first connected and verified after {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Changes what all serve; answers the revision.
    async fn change(&self, value: &str) -> Result<u64> {
        let header = json!({"name": "X-Change", "value": value});
        let patch = MergePatch::new(
            json!({"locations": [{"path": "/", "root": "/srv", "custom_headers": [header]}]}),
        )?;
        Ok(self.client.virtual_hosts().update(self.host, &patch).await?.revision.0)
    }

    /// Waits until all have confirmed a version at least this new; answers when each did.
    async fn drain(&mut self, agents: usize, version: u64) -> Result<Vec<tokio::time::Instant>> {
        let mut times = Vec::new();
        let confirm = async {
            while times.len() < agents {
                let next = self.confirmed.recv().await.context("all agents are gone")?;
                if next.version >= version {
                    times.push(next.at);
                }
            }
            Ok::<_, anyhow::Error>(())
        };
        let done = tokio::time::timeout(PATIENCE, confirm).await;
        let connected = self.agents.iter().filter(|it| it.state().connected).count();
        done.with_context(|| format!("not all confirmed; {connected} are connected"))??;
        Ok(times)
    }

    /// Waits until the server says so too.
    async fn settled(&self, agents: usize) -> Result<()> {
        let settled = async {
            loop {
                let text = reqwest::get(format!("{}/metrics", self.server.http())).await?;
                let text = text.text().await?;
                let value = |name: &str| {
                    text.lines().find_map(|it| it.strip_prefix(name)?.trim().parse::<usize>().ok())
                };
                let online = value("nxmesh_agents_connected{state=\"online\"}");
                if online == Some(agents) && value("nxmesh_agents_behind") == Some(0) {
                    return Ok::<_, anyhow::Error>(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.context("not all are online")?
    }

    /// Memory of the server, in KiB.
    fn resident(&mut self) -> Result<f64> {
        let id = self.server.process().id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
    }
}
