//! Calls of the REST API a second, by the server program, beside a bare axum server that
//! answers a JSON of two words: what is lost to it is what our own code costs.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::{Json, Router, routing::get};
use clap::{Parser, Subcommand};
use futures::future::try_join_all;
use nxmesh_benches::{Process, ServerProcess, files_host};
use nxmesh_client::Client;
use nxmesh_core::{
    conformance::postgres::{Cluster, Database, Durability},
    gateway::VirtualHostId,
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

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
        Some(Program::Hello) => tokio::runtime::Runtime::new()?.block_on(hello()),
        // One thread asks: it leaves the machine to the servers, and costs all of them the same.
        None => {
            let asking = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            asking.block_on(measure(args))
        }
    }
}

async fn hello() -> Result<()> {
    let routes = Router::new().route("/", get(async || Json(json!({"hello": "world"}))));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("hello listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, routes).await?)
}

async fn measure(args: Args) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut program = Command::new(std::env::current_exe()?);
    let mut process = Process::start(program.arg("hello"), &folder.path().join("hello.log"))?;
    let address = process.said("hello listening on ").await?.parse()?;
    let hello = (address, process.id().context("hello has ended")?);
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
    let mut calls = vec![Call::new("hello", hello, 200, |_, _| get_of("/", ""))];
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
        let middle = |mut turns: Vec<Met>| {
            turns.sort_by(|a, b| a.rate.total_cmp(&b.rate));
            turns.swap_remove(turns.len() / 2)
        };
        let met: Vec<_> = met.into_iter().map(middle).collect();
        let Met { rate: hello, cpu: hello_cpu, .. } = met.first().context("hello was measured")?;
        for (call, Met { rate, p50, p99, cpu }) in calls.iter().zip(&met) {
            let (p50, p99) = (p50.as_micros(), p99.as_micros());
            let (name, ratio, cpu_ratio) = (call.name, rate / hello, hello_cpu / cpu);
            println!(
                "  {connections:11}  {name:12} {rate:9.0} {p50:8} {p99:8} {cpu:8.1} {ratio:16.2} {cpu_ratio:5.2}"
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
        Call::new("token only", address, 404, move |_, _| get_of("/v1/virtual-hosts/-", &check)),
        Call::new("get one", address, 200, move |by, round| {
            let id = read[(by + round) % read.len()];
            get_of(&format!("/v1/virtual-hosts/{id}"), &one)
        }),
        Call::new("list 20", address, 200, move |_, _| {
            get_of(&format!("/v1/workspaces/{workspace}/virtual-hosts?per_page=20"), &list)
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

fn get_of(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
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

/// What came of it.
struct Met {
    rate: f64,
    p50: Duration,
    p99: Duration,
    /// What the server used of a core for each, in microseconds: whatever else the machine does.
    cpu: f64,
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

    /// By so many connections that are kept; the first tenth is for warming up.
    async fn repeat(&self, connections: usize, lasting: Duration) -> Result<Met> {
        let began = Instant::now() + lasting / 10;
        let ends = began + lasting;
        let asking = (0..connections).map(|by| self.connection(by, began, ends));
        let before = busy(self.server)?;
        let met = try_join_all(asking).await.context(self.name)?;
        let used = busy(self.server)? - before;
        let asked: usize = met.iter().map(|(rounds, _)| rounds).sum();
        let mut took = met.into_iter().map(|(_, took)| took).collect::<Vec<_>>().concat();
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
        ensure!(!took.is_empty(), "{}: nothing was answered in time", self.name);
        let rate = took.len() as f64 / lasting.as_secs_f64();
        let cpu = used.as_secs_f64() * 1e6 / asked as f64;
        Ok(Met { rate, p50: at(0.5), p99: at(0.99), cpu })
    }

    /// How many were asked, and how long those took that count.
    async fn connection(
        &self,
        by: usize,
        began: Instant,
        ends: Instant,
    ) -> Result<(usize, Vec<Duration>)> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut took = Vec::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut rounds = 0;
        loop {
            let request = (self.request)(by, rounds);
            let asked = Instant::now();
            stream.write_all(&request).await?;
            self.read(&mut stream, &mut buffer).await?;
            rounds += 1;
            let answered = Instant::now();
            if answered >= ends {
                break;
            }
            if answered >= began {
                took.push(answered - asked);
            }
        }
        Ok((rounds, took))
    }

    /// Reads one whole answer, and looks whether it is the right one.
    async fn read(&self, stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        loop {
            let count = stream.read(&mut buffer[filled..]).await?;
            ensure!(count > 0, "the server closed the connection");
            filled += count;
            let Some(head) = buffer[..filled].windows(4).position(|it| it == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&buffer[..head])?;
            let status = text.get(9..12).context("no status")?;
            ensure!(status == self.status.to_string(), "answered {text}");
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.context("no length")?.parse()?;
            if filled >= head + 4 + length {
                return Ok(());
            }
        }
    }
}

/// How long a process was on a core until now, in all its threads.
fn busy(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').context("no name")?.1;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>()?.iter().sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}
