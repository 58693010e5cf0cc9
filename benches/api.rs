//! Calls of the REST API a second, by the server program, beside a bare axum server that
//! answers a JSON of two words: what is lost to it is what our own code costs.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use nxmesh_benches::{Hello, Met, ServerProcess, Wire, files_host, repeat, request, request_for};
use nxmesh_client::Client;
use nxmesh_core::{
    conformance::postgres::{Cluster, Database, Durability},
    gateway::VirtualHostId,
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
};
use serde_json::json;

/// How many virtual hosts there are to be asked for.
const HOSTS: usize = 100;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    program: Option<Program>,
    /// How long to measure each, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often; the middle one counts
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// How many connections at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    connections: Vec<usize>,
    /// Only calls whose name contains this, and hello
    #[arg(long, default_value = "")]
    only: String,
    /// Measure a server on Postgres too
    #[arg(long)]
    postgres: bool,
}

#[derive(Subcommand)]
enum Program {
    /// The server to compare with, in a process of its own
    Hello,
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.program {
        Some(Program::Hello) => Hello::serve(),
        // One thread asks: it leaves the machine to the servers, and costs all of them the same.
        None => {
            let asking = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            asking.block_on(measure(args))
        }
    }
}

async fn measure(args: Args) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let floor = Hello::start(folder.path()).await?;
    let hello = floor.address()?;
    let mut sqlite = ServerProcess::start(&folder.path().join("sqlite")).await?;
    compare("SQLite", &mut sqlite, hello, &args).await?;
    if args.postgres {
        let cluster = Cluster::start(Durability::Full);
        let database = Database::create_on(cluster.url("postgres")).await;
        let data = folder.path().join("postgres");
        let mut postgres = ServerProcess::start_on(Path::new(&data), database.url()).await?;
        compare("Postgres", &mut postgres, hello, &args).await?;
    }
    Ok(())
}

/// Measures all calls in turn, and prints a table.
async fn compare(
    store: &str,
    server: &mut ServerProcess,
    hello: (SocketAddr, u32),
    args: &Args,
) -> Result<()> {
    let mut calls = vec![Call::new("hello", hello, 200, |_, _| request_for("/", ""))];
    let ours = prepare(server).await?.into_iter();
    calls.extend(ours.filter(|it| it.name.contains(&args.only)));
    println!("{store}: requests a second, middle of {} turns", args.turns);
    println!(
        "  connections  call          a second   p50 µs   p99 µs   CPU µs   to hello: rate   CPU"
    );
    for connections in args.connections.iter().copied() {
        let mut met = calls.iter().map(|_| Vec::new()).collect::<Vec<Vec<Met>>>();
        for _ in 0..args.turns {
            for (call, met) in calls.iter().zip(&mut met) {
                met.push(call.repeat(connections, Duration::from_secs_f64(args.seconds)).await?);
            }
        }
        let met: Vec<_> = met.into_iter().filter_map(Met::middle).collect();
        let Met { rate: hello, cpu: hello_cpu, .. } = met.first().context("hello was measured")?;
        for (call, Met { rate, took, cpu }) in calls.iter().zip(&met) {
            let (p50, p99) = (took.ms(0.5) * 1000.0, took.ms(0.99) * 1000.0);
            let (name, ratio, cpu_ratio) = (call.name, rate / hello, hello_cpu / cpu);
            println!(
                "  {connections:11}  {name:12} {rate:9.0} {p50:8.0} {p99:8.0} {cpu:8.1} {ratio:16.2} {cpu_ratio:5.2}"
            );
        }
    }
    Ok(())
}

/// Fills a server, and says how to call it.
async fn prepare(server: &mut ServerProcess) -> Result<Vec<Call>> {
    let client = server.client().await?;
    let (workspace, hosts) = fill(&client).await?;
    let token = client.auth().access_token().context("the client is logged in")?;
    let bearer = format!("authorization: Bearer {}\r\n", token.expose());
    let address = server.http().trim_start_matches("http://").parse()?;
    let address = (address, server.process().id().context("the server has ended")?);
    let (one, list, patch, check) = (bearer.clone(), bearer.clone(), bearer.clone(), bearer);
    let (read, written) = (hosts.clone(), hosts);
    let login = server.login().to_string();
    Ok(vec![
        // What is no id is refused right after the token was checked.
        Call::new("token only", address, 404, move |_, _| {
            request_for("/v1/virtual-hosts/-", &check)
        }),
        Call::new("get one", address, 200, move |by, round| {
            let id = read[(by + round) % read.len()];
            request_for(&format!("/v1/virtual-hosts/{id}"), &one)
        }),
        Call::new("list 20", address, 200, move |_, _| {
            request_for(&format!("/v1/workspaces/{workspace}/virtual-hosts?per_page=20"), &list)
        }),
        Call::new("patch one", address, 200, move |by, round| {
            let id = written[by % written.len()];
            let body = json!({"name": format!("host {by} {round} {}", rand::random::<u32>())});
            request("PATCH", &format!("/v1/virtual-hosts/{id}"), &patch, &body.to_string())
        }),
        Call::new("login", address, 200, move |_, _| request("POST", "/v1/auth/login", "", &login)),
    ])
}

async fn fill(client: &Client) -> Result<(WorkspaceId, Arc<[VirtualHostId]>)> {
    let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = client.organizations().create(&new).await?;
    let new = NewWorkspace { name: "W".into(), slug: "w".into(), settings: Default::default() };
    let workspace = client.workspaces().create(organization.id, &new).await?.id;
    let mut hosts = Vec::new();
    for number in 0..HOSTS {
        let new = files_host(&format!("h{number}.example"));
        hosts.push(client.virtual_hosts().create(workspace, &new).await?.id);
    }
    Ok((workspace, hosts.into()))
}

/// Something to ask again and again.
struct Call {
    name: &'static str,
    address: SocketAddr,
    /// The process that answers.
    server: u32,
    status: u16,
    /// What the connection of this number sends in this round.
    request: Box<dyn Fn(usize, usize) -> Vec<u8> + Send + Sync>,
}

impl Call {
    fn new(
        name: &'static str,
        (address, server): (SocketAddr, u32),
        status: u16,
        request: impl Fn(usize, usize) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self { name, address, server, status, request: Box::new(request) }
    }

    /// By so many connections that are kept.
    async fn repeat(&self, connections: usize, lasting: Duration) -> Result<Met> {
        let mut callers = Vec::new();
        for by in 0..connections {
            let mut wire = Wire::open(self.address).await?;
            callers.push(async move |round| {
                let answer = wire.ask(&(self.request)(by, round)).await?;
                let text = || String::from_utf8_lossy(answer.body);
                ensure!(answer.status == self.status, "answered {} {}", answer.status, text());
                Ok(())
            });
        }
        repeat(self.server, callers, lasting).await.context(self.name)
    }
}
