//! The reference agent.

mod settings;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, UdpSocket},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use nxmesh_agent::{Agent, AgentSettings, NginxError, ReloadBudget, StateDir};
use nxmesh_core::{
    Secret,
    gateway::link::Connector,
    transport::{Failover, grpc::GrpcConnector},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::settings::{Settings, Starter, WhatBecomes};

/// What is wrong with how it was started.
const USAGE: u8 = 2;
/// How long to wait for the address of a name.
const NAMES: Duration = Duration::from_secs(2);
/// An address that is nowhere near (TEST-NET-1, RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) if error.use_stderr() => return refuse(&one_line(&error.to_string())),
        Err(help) => {
            // Help and version are what was asked for; a closed pipe is no failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let filter = match EnvFilter::try_new(&settings.log) {
        Ok(filter) => filter,
        Err(error) => return refuse(&format!("--log: {error}")),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would be told where nothing can be written, which panics: on a full disk, say.
        .log_internal_errors(false)
        .init();
    let agent = match prepare(settings).await {
        Ok(agent) => agent,
        Err(error) => return refuse(&format!("{error:#}")),
    };
    match run(agent).await {
        Ok(()) => ExitCode::SUCCESS,
        // That is nobody's mistake but this program's: whoever started it may start it again.
        Err(error) if matches!(error.downcast_ref(), Some(NginxError::Panicked)) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
        Err(error) => refuse(&format!("{error:#}")),
    }
}

async fn prepare(settings: Settings) -> Result<Agent> {
    let roots = match &settings.ca_file {
        Some(file) => Some(
            fs::read(file).with_context(|| format!("cannot read --ca-file {}", file.display()))?,
        ),
        None => None,
    };
    let mut servers: Vec<Arc<dyn Connector>> = Vec::new();
    let mut server = None;
    for url in &settings.server {
        let address = address(url).await;
        let loopback = address.is_some_and(|it| it.is_loopback());
        if url.starts_with("http:") && !loopback && !settings.insecure {
            bail!("--server {url} is plain text beyond loopback: use https, or pass --insecure");
        }
        server = server.or(address);
        let connector = match &roots {
            Some(roots) => GrpcConnector::with_roots(url, roots),
            None => GrpcConnector::new(url),
        };
        servers.push(Arc::new(connector.context("--server")?));
    }
    let connector = Failover::new(servers).context("--server")?;
    let token = match &settings.token_file {
        Some(file) => Some(
            fs::read_to_string(file)
                .with_context(|| format!("cannot read --token-file {}", file.display()))?,
        ),
        None => settings.token,
    };
    if !settings.nginx.is_file() {
        bail!("--nginx {} is no file: install nginx, or name another", settings.nginx.display());
    }
    if matches!((settings.mode, settings.on_exit), (Starter::Attached, WhatBecomes::Stop)) {
        bail!("--on-exit stop goes with --mode managed only: an attached agent never stops nginx");
    }
    if let Some(file) = settings.pid_file.as_deref().filter(|it| !it.is_absolute()) {
        bail!(
            "--pid-file {} is no absolute path: nginx would look for it elsewhere",
            file.display()
        );
    }
    let usual = ReloadBudget::default();
    let reloads = ReloadBudget {
        min_interval: Duration::from_millis(settings.min_reload_interval_ms),
        max_draining_workers: settings.max_draining_workers.unwrap_or(usual.max_draining_workers),
        drain_timeout: Duration::from_secs(settings.drain_timeout_seconds),
    };
    let dir = StateDir::open(&settings.state_dir)?;
    let agent = AgentSettings {
        nginx: settings.nginx,
        nginx_user: settings.nginx_user.or_else(worker_user),
        token: token.map(|text| Secret::new(text.trim().to_owned())),
        deployment_mode: settings.deployment_mode.into(),
        ip_address: own_address(server).to_string(),
        on_exit: settings.on_exit.into(),
        mode: settings.mode.into(),
        pid_file: settings.pid_file,
        reloads,
    };
    Ok(Agent::new(dir, agent, connector))
}

async fn run(agent: Agent) -> Result<()> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = agent.run(stop.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    Ok(running.await?)
}

/// Where the server is, if that can be told soon: nginx is not kept waiting for a name.
/// A name may stand for several addresses, which are alike.
async fn address(server: &str) -> Option<IpAddr> {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let with_port =
        if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:443")
        };
    let found = tokio::time::timeout(NAMES, tokio::net::lookup_host(with_port)).await;
    found.ok()?.ok()?.next().map(|it| it.ip())
}

/// The address from which the server is reached, or the rest of the world as long as
/// nobody knows where the server is. Nothing is sent for this.
fn own_address(server: Option<IpAddr>) -> IpAddr {
    let server = server.unwrap_or(ELSEWHERE);
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket =
        UdpSocket::bind(any).and_then(|socket| socket.connect((server, 9)).map(|()| socket));
    socket
        .and_then(|socket| socket.local_addr())
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |it| it.ip())
}

/// Root's workers must not be root: the first of the users that packages of nginx make.
fn worker_user() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let exists = |name: &&str| known.lines().any(|line| line.split(':').next() == Some(name));
    ["www-data", "nginx", "nobody"].into_iter().find(exists).map(str::to_owned)
}

fn refuse(why: &str) -> ExitCode {
    say(why);
    ExitCode::from(USAGE)
}

/// Says it to whoever started this, if that can be written: on a full disk, say, it cannot.
fn say(why: &str) {
    let _ = writeln!(io::stderr(), "nxmesh-agent: {why}");
}

/// The reason of a usage error, without the help that follows it.
fn one_line(error: &str) -> String {
    let reason = error.split("\n\n").next().unwrap_or(error);
    let words: Vec<_> = reason.trim_start_matches("error: ").split_whitespace().collect();
    format!("{} (see --help)", words.join(" "))
}
