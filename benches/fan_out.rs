//! One change to a workspace with many agents, in one process, on SQLite: how long
//! until each has confirmed it, and how much memory an agent costs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use nxmesh_benches::{Confirmed, SimulatedAgent, Times, agent_token, files_host};
use nxmesh_core::{
    Actor, IfMatch, MergePatch, Mesh, Secret,
    store::sqlite::SqliteStore,
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
    transport::in_process::InProcessConnector,
};
use serde_json::json;
use tokio::sync::mpsc;

#[derive(Parser)]
struct Args {
    /// How many agents
    #[arg(long, default_value_t = 1000)]
    agents: usize,
    /// How many virtual hosts the workspace has
    #[arg(long, default_value_t = 10)]
    hosts: usize,
    /// How many changes are made
    #[arg(long, default_value_t = 20)]
    changes: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { agents, hosts, changes } = Args::parse();
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("mesh.db")).await?;
    let mesh = Mesh::builder().store(store).build().await?;
    let user = mesh.tenancy().users().create("a@example.com", Secret::random_password()).await?;
    let actor = Actor::user(user.id);
    let organization = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = mesh.tenancy().organizations().create(&actor, organization).await?;
    let workspace =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    let workspace =
        mesh.tenancy().workspaces().create(&actor, organization.id, workspace).await?.id;
    let mut ids = Vec::new();
    for number in 0..hosts {
        ids.push(
            mesh.gateway()
                .virtual_hosts()
                .create(&actor, workspace, files_host(&format!("host{number}.example")))
                .await?
                .id,
        );
    }

    let before = resident()?;
    let (confirm, mut confirmed) = mpsc::channel(agents);
    let mut fleet = Vec::new();
    let began = Instant::now();
    for number in 0..agents {
        let token = token(&mesh, &actor, workspace, number).await?;
        let connector = Arc::new(InProcessConnector::new(mesh.gateway().clone()));
        fleet.push(SimulatedAgent::start(connector, token, Some(confirm.clone())));
    }
    drain(&mut confirmed, agents, 0).await?;
    println!("{agents} agents registered and confirmed in {:.1} s", began.elapsed().as_secs_f64());
    let each = (resident()? - before) / agents as f64;

    let (mut answered, mut times) = (Vec::new(), Vec::new());
    for change in 0..changes {
        let header = json!({"name": "X-Change", "value": change.to_string()});
        let patch = MergePatch::new(
            json!({"locations": [{"path": "/", "root": "/srv", "custom_headers": [header]}]}),
        )?;
        let began = Instant::now();
        let host =
            mesh.gateway().virtual_hosts().update(&actor, ids[0], &patch, &IfMatch::Any).await?;
        answered.push(began.elapsed());
        let committed = tokio::time::Instant::now();
        let all = drain(&mut confirmed, agents, host.revision.0).await?;
        times.extend(all.into_iter().map(|it| it.saturating_duration_since(committed)));
    }
    let (answered, times) = (Times::of(answered), Times::of(times));
    println!(
        "{changes} changes to a workspace of {hosts} virtual hosts, {agents} agents, in process, on SQLite:"
    );
    println!(
        "  change answered:           p50 {:.1} ms, p99 {:.1} ms",
        answered.ms(0.5),
        answered.ms(0.99)
    );
    println!(
        "  then confirmed by agents:  p50 {:.1} ms, p99 {:.1} ms, all after {:.1} ms",
        times.ms(0.5),
        times.ms(0.99),
        times.ms(1.0)
    );
    println!("  memory an agent (both ends): {each:.1} KiB");
    drop(fleet);
    mesh.shutdown().await;
    Ok(())
}

async fn token(
    mesh: &Mesh,
    actor: &Actor,
    workspace: WorkspaceId,
    number: usize,
) -> Result<Secret<String>> {
    let new = agent_token(&format!("agent {number}"));
    Ok(mesh.gateway().agents().create_token(actor, workspace, new).await?.token)
}

/// Waits until all agents have confirmed a version at least this new; answers when each did.
async fn drain(
    confirmed: &mut mpsc::Receiver<Confirmed>,
    agents: usize,
    version: u64,
) -> Result<Vec<tokio::time::Instant>> {
    let mut times = Vec::new();
    while times.len() < agents {
        let next = tokio::time::timeout(Duration::from_secs(60), confirmed.recv());
        let next =
            next.await.context("not all agents confirmed")?.context("all agents are gone")?;
        if next.version >= version {
            times.push(next.at);
        }
    }
    Ok(times)
}

/// Memory in use, in KiB.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
