//! From PATCH answered to the new configuration answering on nginx, beside a bare
//! `nginx -t` and reload of the same files, and beside Caddy's admin API with the
//! same sites. The three take turns, so that a slow moment of the machine meets all.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use futures::{StreamExt, future::join_all, stream};
use nxmesh_benches::{NginxBinary, Process, TestMesh, free_port, get, wait_for};
use nxmesh_core::{MergePatch, gateway::VirtualHostId};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two turns, so that one does not feel the workers of the other end.
const REST: Duration = Duration::from_millis(400);

/// How many connections ask at once whether a change is served.
const CONNECTIONS: usize = 16;

#[derive(Parser)]
struct Args {
    /// How many virtual hosts
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1000])]
    hosts: Vec<usize>,
    /// How many turns each takes
    #[arg(long, default_value_t = 11)]
    turns: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { hosts, turns } = Args::parse();
    let nginx = NginxBinary::packaged()?;
    println!("from a change to its first answer, ms: median (min to max) of {turns} turns");
    println!(
        "{:>6} {:>24} {:>24} {:>24} {:>8} {:>8}",
        "hosts", "nxmesh", "bare nginx -t + HUP", "caddy PATCH", "/ bare", "/ caddy"
    );
    for count in hosts {
        measure(count, turns, &nginx).await?;
    }
    Ok(())
}

async fn measure(count: usize, turns: usize, nginx: &NginxBinary) -> Result<()> {
    let mesh = TestMesh::start(nginx).await?;
    let port = free_port();
    let id = fill(&mesh, count, port).await?;
    let mut bare = Bare::start(&mesh, nginx, port).await?;
    let caddy = Caddy::start(&mesh, count).await?;
    let (mut ours, mut floor, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns {
        tokio::time::sleep(REST).await;
        ours.push(change(&mesh, id, port, turn).await?);
        tokio::time::sleep(REST).await;
        floor.push(bare.change(turn).await?);
        tokio::time::sleep(REST).await;
        peer.push(caddy.change(turn).await?);
    }
    let (ours, floor, peer) = (Times::of(ours), Times::of(floor), Times::of(peer));
    let to = |other: &Times| ours.median / other.median;
    println!("{count:>6} {ours:>24} {floor:>24} {peer:>24} {:>8.2} {:>8.2}", to(&floor), to(&peer));
    Ok(())
}

/// Makes the virtual hosts; the first one is the one that is changed.
async fn fill(mesh: &TestMesh, count: usize, port: u16) -> Result<VirtualHostId> {
    let upstream =
        mesh.client.upstreams().create(mesh.workspace, &mesh.upstream("backend")).await?.id;
    let make = |number: usize| {
        let mut new = mesh.host(&name(number), port);
        let mut second = new.locations[0].clone();
        second.path = "/api".into();
        second.proxy_pass = None;
        second.upstream_id = Some(upstream.to_string());
        new.locations.push(second);
        async move { mesh.client.virtual_hosts().create(mesh.workspace, &new).await }
    };
    let first = make(0).await?.id;
    let mut rest = stream::iter(1..count).map(make).buffer_unordered(32);
    while let Some(made) = rest.next().await {
        made?;
    }
    let last = name(count - 1);
    let serves = || async { get(port, &last, "/").await.is_ok_and(|(status, _)| status == 200) };
    wait_for("all virtual hosts", PATIENCE, serves).await?;
    // Until the agent has said so and all is at rest.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(first)
}

fn name(number: usize) -> String {
    format!("host{number}.example")
}

fn locations(mesh: &TestMesh, turn: usize) -> Value {
    let header = json!({"name": "X-Turn", "value": turn.to_string()});
    json!([{"path": "/", "proxy_pass": format!("http://{}", mesh.backend.address()), "custom_headers": [header]}])
}

async fn change(mesh: &TestMesh, id: VirtualHostId, port: u16, turn: usize) -> Result<Duration> {
    let patch = MergePatch::new(json!({"locations": locations(mesh, turn)}))?;
    mesh.client.virtual_hosts().update(id, &patch).await?;
    until_served(port, turn).await
}

/// From now to the first answer with the header of this turn.
///
/// For 100 ms after a reload the old workers take connections too, and would answer
/// most of those that come one by one: so some come at once.
async fn until_served(port: u16, turn: usize) -> Result<Duration> {
    let expected = format!("x-turn: {turn}\r\n");
    let first = name(0);
    let shows = || async {
        let answers = join_all((0..CONNECTIONS).map(|_| get(port, &first, "/"))).await;
        answers.into_iter().flatten().any(|(_, text)| text.to_ascii_lowercase().contains(&expected))
    };
    wait_for("the change", PATIENCE, shows).await
}

/// An nginx of its own with a copy of the files that the agent rendered.
struct Bare {
    folder: PathBuf,
    nginx: PathBuf,
    port: u16,
    changed: PathBuf,
    text: String,
}

impl Bare {
    async fn start(mesh: &TestMesh, nginx: &NginxBinary, port: u16) -> Result<Self> {
        let folder = mesh.folder().join("bare");
        for part in ["run", "logs", "tmp"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let copied = Command::new("cp")
            .arg("-rL")
            .arg(mesh.agent.folder().join("current"))
            .arg(folder.join("current"))
            .status();
        if !copied.await?.success() {
            bail!("cannot copy the rendered files");
        }
        let own = free_port();
        let (mut changed, mut text) = (None, String::new());
        for file in files(&folder.join("current"))? {
            let old = std::fs::read_to_string(&file)?;
            let moved = old
                .replace(&mesh.agent.folder().display().to_string(), &folder.display().to_string())
                .replace(&format!("listen {port}"), &format!("listen {own}"))
                .replace(&format!("listen [::]:{port}"), &format!("listen [::]:{own}"));
            if moved.contains("server_name host0.example;") {
                (changed, text) = (Some(file.clone()), moved.clone());
            }
            std::fs::write(&file, moved)?;
        }
        let changed = changed.context("the first virtual host is not among the files")?;
        let nginx = nginx.path().to_owned();
        let bare = Self { folder, nginx, port: own, changed, text };
        bare.run(&[]).await?;
        Ok(bare)
    }

    async fn change(&mut self, turn: usize) -> Result<Duration> {
        let header = format!("location / {{\n        add_header X-Turn {turn};");
        std::fs::write(&self.changed, self.text.replacen("location / {", &header, 1))?;
        let began = Instant::now();
        self.run(&["-t", "-q"]).await?;
        self.signal(Signal::HUP)?;
        until_served(self.port, turn).await?;
        Ok(began.elapsed())
    }

    async fn run(&self, more: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.nginx);
        command
            .args(more)
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(self.folder.join("current/nginx.conf"));
        let ran = command.output().await?;
        if !ran.status.success() {
            bail!("nginx {more:?}: {}", String::from_utf8_lossy(&ran.stderr));
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = std::fs::read_to_string(self.folder.join("run/nginx.pid"))?.trim().parse()?;
        let pid = rustix::process::Pid::from_raw(pid).context("no process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // One that did not start needs no end.
        let _ = self.signal(Signal::TERM);
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Caddy with the same sites.
struct Caddy {
    _process: Process,
    admin: u16,
    port: u16,
    backend: String,
    http: reqwest::Client,
}

impl Caddy {
    async fn start(mesh: &TestMesh, count: usize) -> Result<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/caddy");
        if !program.is_file() {
            bail!("caddy is missing: run ./scripts/install caddy");
        }
        let (admin, port, backend) = (free_port(), free_port(), mesh.backend.address());
        let routes: Vec<_> = (0..count).map(|number| route(number, &backend, None)).collect();
        let server = json!({"listen": [format!("127.0.0.1:{port}")], "automatic_https": {"disable": true}, "routes": routes});
        let config = json!({
            "admin": {"listen": format!("127.0.0.1:{admin}"), "config": {"persist": false}},
            "apps": {"http": {"servers": {"main": server}}},
        });
        let file = mesh.folder().join("caddy.json");
        std::fs::write(&file, config.to_string())?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&file).env("HOME", mesh.folder());
        let process = Process::start(&mut command, &mesh.folder().join("caddy.log"))?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let caddy = Self { _process: process, admin, port, backend, http };
        let serves =
            || async { get(port, &name(0), "/").await.is_ok_and(|(status, _)| status == 200) };
        wait_for("caddy", PATIENCE, serves).await?;
        Ok(caddy)
    }

    async fn change(&self, turn: usize) -> Result<Duration> {
        let url = format!("http://127.0.0.1:{}/config/apps/http/servers/main/routes/0", self.admin);
        let body = route(0, &self.backend, Some(turn));
        let began = Instant::now();
        let answer = self.http.patch(url).json(&body).send().await?;
        if !answer.status().is_success() {
            bail!("caddy: {}", answer.text().await?);
        }
        until_served(self.port, turn).await?;
        Ok(began.elapsed())
    }
}

fn route(number: usize, backend: &str, turn: Option<usize>) -> Value {
    let proxy = json!({"handler": "reverse_proxy", "upstreams": [{"dial": backend}]});
    let header = turn.map(
        |turn| json!({"handler": "headers", "response": {"set": {"X-Turn": [turn.to_string()]}}}),
    );
    let handlers: Vec<_> = header.into_iter().chain([proxy]).collect();
    json!({"match": [{"host": [name(number)]}], "handle": handlers})
}

/// Milliseconds.
struct Times {
    median: f64,
    min: f64,
    max: f64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let ms = |it: Option<&Duration>| it.map_or(0.0, |it| it.as_secs_f64() * 1000.0);
        Self {
            median: ms(times.get(times.len() / 2)),
            min: ms(times.first()),
            max: ms(times.last()),
        }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.0} ({:.0} to {:.0})", self.median, self.min, self.max))
    }
}
