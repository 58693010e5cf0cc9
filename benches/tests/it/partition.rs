//! The network between agent and server is cut, and mended.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nxmesh_benches::{Load, Namespace, NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_core::{MergePatch, gateway::AgentState};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(60);

/// For how long the network is away: longer than any timeout in the soak.
fn away() -> Duration {
    let soak = std::env::var_os("NXMESH_SOAK").is_some();
    Duration::from_secs(if soak { 60 } else { 15 })
}

/// Serves a file: nothing else can be reached from inside the namespace.
fn location(root: &TempDir, round: usize) -> Value {
    let header = json!({"name": "X-Round", "value": round.to_string()});
    json!({"path": "/", "root": root.path(), "custom_headers": [header]})
}

/// A folder with a page in it that nginx's workers may read, whoever they are.
fn pages() -> Result<TempDir> {
    let open = Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(open).tempdir()?;
    std::fs::write(folder.path().join("index.html"), "served")?;
    Ok(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_is_noticed_and_harms_nobody() -> Result<()> {
    let namespace = Namespace::make()?;
    let mesh = TestMesh::start_in(&namespace, &NginxBinary::packaged()?).await?;
    let (port, root) = (free_port(), pages()?);
    let new = json!({"name": "cut", "server_name": "cut.example", "listen_port": port, "locations": [location(&root, 1)]});
    let new = serde_json::from_value(new)?;
    let host = mesh.client.virtual_hosts().create(mesh.workspace, &new).await?.id;
    let serves = |round: usize| {
        let shows = move || async move {
            let expected = format!("X-Round: {round}\r\n");
            let answer = get(port, "cut.example", "/").await;
            answer.is_ok_and(|(_, text)| text.contains(&expected))
        };
        namespace.run(async move || wait_for("the change", PATIENCE, shows).await)
    };
    joined(serves(1)?).await??;

    let (stop, stopped) = oneshot::channel::<()>();
    let load = namespace.run(async move || {
        let load = Load::fresh(8, port, "cut.example");
        // Dropped or told: either way it is over.
        let _ = stopped.await;
        load.stop().await
    })?;
    namespace.cut()?;
    let cut = Instant::now();
    let noticed = mesh.wait_for_state(AgentState::Offline).await?;
    let log = mesh.agent.folder().join("agent.log");
    let said = || {
        let text = std::fs::read_to_string(&log);
        std::future::ready(text.is_ok_and(|it| it.contains("silent for three heartbeats")))
    };
    let by_agent = wait_for("the agent to notice", PATIENCE, said).await?;
    let patch = MergePatch::new(json!({"locations": [location(&root, 2)]}))?;
    mesh.client.virtual_hosts().update(host, &patch).await?;
    tokio::time::sleep(away().saturating_sub(cut.elapsed())).await;

    namespace.mend()?;
    let mended = Instant::now();
    joined(serves(2)?).await??;
    let served = mended.elapsed();
    mesh.wait_for_state(AgentState::Online).await?;
    let converged = mended.elapsed();
    drop(stop);
    let tally = joined(load).await?;
    println!(
        "heartbeat 1 s, cut for {:.0} s: offline after {:.1} s, noticed by the agent {:.1} s later, \
         served {:.1} s and online {:.1} s after it was mended; {} answers meanwhile",
        (mended - cut).as_secs_f64(),
        noticed.as_secs_f64(),
        by_agent.as_secs_f64(),
        served.as_secs_f64(),
        converged.as_secs_f64(),
        tally.answers
    );
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(tally.answers > 1000, "nginx hardly served: {tally:?}");
    Ok(())
}

/// What came of work in the namespace.
async fn joined<T: Send + 'static>(thread: std::thread::JoinHandle<Result<T>>) -> Result<T> {
    let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
    ended.ok().context("the thread panicked")?
}
