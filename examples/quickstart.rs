//! Everything once, on this machine: a server, an agent with its nginx, three
//! servers behind it, and a change that goes all the way. `./scripts/quickstart` builds and runs it.

use std::{
    collections::BTreeMap,
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use axum::{Router, routing::any};
use clap::Parser;
use nxmesh_client::Client;
use nxmesh_core::{
    MergePatch, Secret,
    gateway::{
        AgentState, NewLocation, NewRegistrationToken, NewUpstream, NewVirtualHost, UpstreamServer,
    },
    tenancy::{NewOrganization, NewWorkspace},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
};

/// How long a step may take before the quickstart gives up.
const PATIENCE: Duration = Duration::from_secs(30);
const EMAIL: &str = "admin@localhost";

#[derive(Parser)]
struct Args {
    /// Stop after the proof, with status 0 or 1
    #[arg(long)]
    check: bool,
    /// The nginx to run
    #[arg(long, default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let password = Secret::random_password();

    let mut server = start_server(folder.path(), password.expose())?;
    let mut output =
        BufReader::new(server.stdout.take().context("the server has no output")?).lines();
    let http = said(&mut output, "http listening on ").await?;
    let grpc = said(&mut output, "grpc listening on ").await?;
    step(
        "server",
        &format!("REST on http://{http}, agents on {grpc}, data in {}", folder.path().display()),
    );

    let client = Client::new(format!("http://{http}"))?;
    client.auth().login(EMAIL, password.expose()).await?;
    let organization = NewOrganization { name: "Acme Corp".into(), slug: "acme-corp".into() };
    let organization = client.organizations().create(&organization).await?;
    let workspace = NewWorkspace {
        name: "Production".into(),
        slug: "production".into(),
        settings: Default::default(),
    };
    let workspace = client.workspaces().create(organization.id, &workspace).await?;
    step("workspace", &format!("{} / {}, {}", organization.name, workspace.name, workspace.id));

    let labels = BTreeMap::from([("env".into(), "production".into())]);
    let token = NewRegistrationToken { name: "web-server-01".into(), labels, expires_in_hours: 1 };
    let token = client.agents().create_token(workspace.id, &token).await?;
    let mut agent = start_agent(folder.path(), &grpc, token.token.expose(), &args.nginx)?;
    let online = || async {
        client.agents().get(token.agent_id).await.is_ok_and(|it| it.state == AgentState::Online)
    };
    let took = until("the agent to be online", online).await?;
    let shown = client.agents().get(token.agent_id).await?;
    step(
        "agent",
        &format!("{} is online after {took:?}, with nginx {}", shown.name, shown.nginx_version),
    );

    let (mut servers, mut backends) = (Vec::new(), JoinSet::new());
    for name in ["one", "two", "three"] {
        servers.push(UpstreamServer::at(start_backend(&mut backends, name).await?));
    }
    let addresses: Vec<_> = servers.iter().map(|it| it.address.clone()).collect();
    let upstream = NewUpstream {
        name: "api-backend".into(),
        algorithm: Default::default(),
        servers,
        health_check: None,
        keepalive_connections: 16,
    };
    let upstream = client.upstreams().create(workspace.id, &upstream).await?;
    step("upstream", &format!("{} of {}", upstream.spec.name, addresses.join(", ")));

    let port = free_port()?;
    let location = NewLocation {
        path: "/".into(),
        upstream_id: Some(upstream.id.to_string()),
        ..NewLocation::default()
    };
    let host = NewVirtualHost {
        name: "API Gateway".into(),
        server_name: "localhost".into(),
        listen_port: port.into(),
        locations: vec![location.clone()],
        ..NewVirtualHost::default()
    };
    let host = client.virtual_hosts().create(workspace.id, &host).await?;
    let url = format!("http://localhost:{port}/");
    let serves = || async { ask(&url).await.is_ok_and(|(status, _, _)| status == 200) };
    let took = until("nginx to serve the virtual host", serves).await?;
    step(
        "virtual host",
        &format!("{url} answers {took:?} after it was made, as revision {}", host.revision),
    );

    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..9 {
        let (_, body, _) = ask(&url).await?;
        *seen.entry(body.trim().to_owned()).or_default() += 1;
    }
    let seen_text: Vec<_> = seen.iter().map(|(name, count)| format!("{count} by {name}")).collect();
    step("9 requests", &seen_text.join(", "));
    if seen.len() != 3 {
        bail!("not all three servers answered");
    }

    let mut location = serde_json::to_value(&location)?;
    location["custom_headers"] = json!([{"name": "X-Served-By", "value": "nxmesh"}]);
    let changed = client
        .virtual_hosts()
        .update(host.id, &MergePatch::new(json!({"locations": [location]}))?)
        .await?;
    let shows = || async {
        ask(&url).await.is_ok_and(|(_, _, header)| header.as_deref() == Some("nxmesh"))
    };
    let took = until("the change to be served", shows).await?;
    step(
        "change",
        &format!(
            "a new header is on the answers {took:?} after the API said yes, as revision {}",
            changed.revision
        ),
    );

    let proven = || async {
        let shown = client.agents().get(token.agent_id).await;
        shown.is_ok_and(|it| {
            it.health.is_some_and(|health| health.config_version == changed.revision)
        })
    };
    until("the agent to report it", proven).await?;
    step("proof", &format!("the agent reports that nginx serves revision {}", changed.revision));

    if !args.check {
        println!("\nTry it:\n  curl -i {url}");
        println!(
            "  curl -s http://{http}/v1/auth/login -d '{{\"email\":\"{EMAIL}\",\"password\":\"{}\"}}'",
            password.expose()
        );
        println!(
            "  curl -s http://{http}/v1/agents/{} -H \"Authorization: Bearer $TOKEN\"",
            token.agent_id
        );
        println!("Files of the agent: {}/agent; Ctrl-C ends everything.", folder.path().display());
        tokio::signal::ctrl_c().await?;
    }
    // The agent takes its nginx along.
    stop(&mut agent).await?;
    stop(&mut server).await?;
    println!("\nall of it worked");
    Ok(())
}

fn step(what: &str, how: &str) {
    println!("{what:>12}  {how}");
}

fn start_server(folder: &Path, password: &str) -> Result<Child> {
    let mut command = program("nxmesh-server")?;
    command.args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--heartbeat-seconds", "1"]);
    command.arg("--data-dir").arg(folder.join("server"));
    command.envs([
        ("NXMESH_ADMIN_EMAIL", EMAIL),
        ("NXMESH_ADMIN_PASSWORD", password),
        ("NXMESH_LOG", "warn"),
    ]);
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

fn start_agent(folder: &Path, grpc: &str, token: &str, nginx: &Path) -> Result<Child> {
    let mut command = program("nxmesh-agent")?;
    command.args(["--server", &format!("http://{grpc}"), "--on-exit", "stop"]);
    command.arg("--state-dir").arg(folder.join("agent")).arg("--nginx").arg(nginx);
    command.envs([("NXMESH_TOKEN", token), ("NXMESH_LOG", "warn")]);
    Ok(command.spawn()?)
}

/// A program that was built beside this one. A terminal's Ctrl-C is for this one only,
/// which then stops the others in order.
fn program(name: &str) -> Result<Command> {
    let path = env::current_exe()?.with_file_name(name);
    if !path.is_file() {
        bail!("{} is not built: run ./scripts/quickstart", path.display());
    }
    let mut command = Command::new(path);
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

async fn said(output: &mut Lines<BufReader<ChildStdout>>, lead: &str) -> Result<String> {
    while let Some(line) = tokio::time::timeout(PATIENCE, output.next_line()).await?? {
        if let Some(rest) = line.strip_prefix(lead) {
            return Ok(rest.to_owned());
        }
    }
    bail!("the server did not start")
}

async fn stop(child: &mut Child) -> Result<()> {
    if let Some(pid) =
        child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?))
    {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    tokio::time::timeout(PATIENCE, child.wait()).await??;
    Ok(())
}

async fn start_backend(
    backends: &mut JoinSet<std::io::Result<()>>,
    name: &'static str,
) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let app = Router::new().fallback(any(move || async move { format!("server {name}\n") }));
    backends.spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Status, body and the header that the change adds.
async fn ask(url: &str) -> Result<(u16, String, Option<String>)> {
    let answer = reqwest::Client::builder().timeout(PATIENCE).build()?.get(url).send().await?;
    let header =
        answer.headers().get("x-served-by").and_then(|it| it.to_str().ok()).map(str::to_owned);
    Ok((answer.status().as_u16(), answer.text().await?, header))
}

async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) -> Result<Duration> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if ask().await {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("waited in vain for {what}")
}
