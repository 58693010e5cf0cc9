//! Reloads one after the other, while clients are busy and others keep a WebSocket open.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{SinkExt, StreamExt};
use nxmesh_benches::{Load, NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_core::gateway::{NewLocation, NewVirtualHost};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{accept_async, connect_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 64;
const SOCKETS: usize = 16;
/// How often a WebSocket is used.
const ECHO: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

fn rounds() -> usize {
    if std::env::var_os("NXMESH_SOAK").is_some() { 1000 } else { 40 }
}

/// What became of a WebSocket client.
#[derive(Debug, Default)]
struct Held {
    echoes: usize,
    /// How long connections held that were closed, as they are when old workers must end.
    closed: Vec<Duration>,
}

/// Answers each message with itself.
async fn echo(listener: TcpListener) {
    let mut all = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        all.spawn(async move {
            let mut socket = accept_async(stream).await?;
            while let Some(message) = socket.next().await {
                let message = message?;
                if message.is_text() {
                    socket.send(message).await?;
                }
            }
            Ok::<_, anyhow::Error>(())
        });
    }
}

/// Keeps a WebSocket open, and opens another when it is closed.
async fn hold(url: String, stop: CancellationToken) -> Result<Held> {
    let mut held = Held::default();
    while !stop.is_cancelled() {
        let (mut socket, _) = connect_async(&url).await.context("cannot open a WebSocket")?;
        let began = Instant::now();
        while !stop.is_cancelled() {
            let said = format!("{}", held.echoes);
            let sent = socket.send(Message::text(said.clone())).await;
            let heard = timeout(PATIENCE, socket.next()).await.context("no echo")?;
            match (sent, heard) {
                (Ok(()), Some(Ok(Message::Text(text)))) => {
                    ensure!(text == said, "{text} instead of {said}");
                    held.echoes += 1;
                }
                _ => {
                    held.closed.push(began.elapsed());
                    break;
                }
            }
            sleep(ECHO).await;
        }
    }
    Ok(held)
}

/// Memory of nginx's master, which all workers are forked from, in KiB; and how many workers
/// still drain.
fn looked_at(master: u32) -> Result<(u64, usize)> {
    let status = fs::read_to_string(format!("/proc/{master}/status"))?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let workers = workers(master)?;
    let draining = workers.iter().filter(|pid| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("shutting down")
    });
    Ok((line.trim().trim_end_matches(" kB").parse()?, draining.count()))
}

/// The processes that a master has forked and that have not ended.
fn workers(master: u32) -> Result<Vec<String>> {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    Ok(children.split_whitespace().map(str::to_owned).collect())
}

async fn reloads_under_load(nginx: NginxBinary) -> Result<()> {
    let mesh = TestMesh::start(&nginx).await?;
    let port = free_port();
    mesh.serve(&mesh.host("busy.example", port)).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let behind = format!("http://{}", listener.local_addr()?);
    let mut tasks = JoinSet::new();
    tasks.spawn(echo(listener));
    let location =
        NewLocation { path: "/".into(), proxy_pass: Some(behind), ..NewLocation::default() };
    let sockets = NewVirtualHost {
        name: "sockets".into(),
        server_name: "localhost".into(),
        listen_port: port.into(),
        locations: vec![location],
        ..NewVirtualHost::default()
    };
    let master = mesh.agent.nginx_pid().context("nginx runs")?;
    let before = workers(master)?;
    mesh.client.virtual_hosts().create(mesh.workspace, &sockets).await?;
    let served =
        || async { get(port, "localhost", "/").await.is_ok_and(|(status, _)| status != 404) };
    wait_for("the host for WebSockets", PATIENCE, served).await?;
    // For a moment workers of before answer too, which do not know it.
    let gone =
        || async { workers(master).is_ok_and(|now| before.iter().all(|it| !now.contains(it))) };
    wait_for("workers of before to end", PATIENCE, gone).await?;

    let stop = CancellationToken::new();
    let mut holding = JoinSet::new();
    for _ in 0..SOCKETS {
        holding.spawn(hold(format!("ws://localhost:{port}/"), stop.clone()));
    }
    let load = Load::kept(CLIENTS, port, "busy.example");
    let (rounds, began) = (rounds(), Instant::now());
    let (mut early, mut most_draining) = (0, 0);
    for round in 0..rounds {
        let outcome = mesh.client.agents().reload(mesh.agent_id).await?;
        ensure!(outcome.success, "reload {round}: {}", outcome.message);
        let (used, draining) = looked_at(master)?;
        most_draining = most_draining.max(draining);
        if round == rounds / 10 {
            early = used;
        }
    }
    let (late, _) = looked_at(master)?;
    let took = began.elapsed();
    ensure!(mesh.agent.nginx_pid() == Some(master), "another nginx serves now");
    stop.cancel();
    let tally = load.stop().await;
    let mut all = Held::default();
    while let Some(held) = holding.join_next().await {
        let held = held??;
        ensure!(held.echoes > 0, "a WebSocket was of no use");
        all.echoes += held.echoes;
        all.closed.extend(held.closed);
    }
    println!(
        "{rounds} reloads in {:.0} s under {CLIENTS} clients: {} answers, {} kept connections closed while idle, \
         {} failures; {SOCKETS} WebSockets: {} echoes, {} closed, the first after {:?}; \
         {most_draining} workers drained at most; the master had {early} KiB after a tenth, {late} at the end",
        took.as_secs_f64(),
        tally.answers,
        tally.closed_idle,
        tally.failures.len(),
        all.echoes,
        all.closed.len(),
        all.closed.iter().min(),
    );
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(tally.answers > 1000, "the clients hardly asked: {tally:?}");
    // Each outlived many reloads: only the limit on old workers may have ended it.
    let too_often = SOCKETS * (1 + took.as_secs() as usize / 50);
    assert!(all.closed.len() <= too_often, "closed too often: {:?}", all.closed);
    assert!(late < early * 3 / 2 + 4096, "nginx grows: {early} KiB, then {late}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_harm_neither_requests_nor_web_sockets() -> Result<()> {
    reloads_under_load(NginxBinary::packaged()?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_of_a_current_nginx_harm_neither() -> Result<()> {
    reloads_under_load(NginxBinary::current()?).await
}
