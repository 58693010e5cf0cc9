//! Server and agent die at any moment, and nothing that was answered is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use nxmesh_benches::{Load, NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_client::Client;
use nxmesh_core::{
    MergePatch,
    conformance::postgres::Database,
    gateway::{AgentState, VirtualHostId},
};
use serde_json::json;

/// How many kills: fifty, or with `NXMESH_SOAK` a thousand.
#[expect(clippy::disallowed_methods, reason = "how long to test is said in the environment")]
fn kills() -> usize {
    if std::env::var("NXMESH_SOAK").is_ok() { 1000 } else { 50 }
}

/// Changes the virtual host again and again, and keeps the last round that was answered.
async fn change(
    client: Client,
    id: VirtualHostId,
    backend: String,
    stop: Arc<AtomicBool>,
    last: Arc<AtomicUsize>,
) -> usize {
    let mut answered = 0;
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let header = json!({"name": "X-Round", "value": round.to_string()});
        let location = json!({"path": "/", "proxy_pass": format!("http://{backend}"), "custom_headers": [header]});
        let Ok(patch) = MergePatch::new(json!({"locations": [location]})) else { break };
        if client.virtual_hosts().update(id, &patch).await.is_ok() {
            last.store(round, Ordering::Relaxed);
            answered += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_lose_no_answered_change_and_no_request() -> Result<()> {
    kill_at_random(TestMesh::start(&NginxBinary::packaged()?).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_on_postgres_lose_nothing_either() -> Result<()> {
    let database = Database::create().await;
    kill_at_random(TestMesh::start_on(&NginxBinary::packaged()?, database.url()).await?).await
}

async fn kill_at_random(mut mesh: TestMesh) -> Result<()> {
    let port = free_port();
    let host = mesh.serve(&mesh.host("busy.example", port)).await?;
    let (stop, last) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut changes = tokio::task::JoinSet::new();
    changes.spawn(change(
        mesh.client.clone(),
        host.id,
        mesh.backend.address(),
        Arc::clone(&stop),
        Arc::clone(&last),
    ));
    let load = Load::fresh(4, port, "busy.example");
    let kills = kills();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..400))).await;
        if rand::random() {
            mesh.server.kill_and_restart().await?;
        } else {
            mesh.agent.kill().await?;
            mesh.agent.restart()?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let answered: usize = changes.join_all().await.into_iter().sum();
    let round = last.load(Ordering::Relaxed);
    // The last change that was answered, or one that was made but whose answer was lost.
    let kept = mesh.client.virtual_hosts().get(host.id).await?;
    let header = &kept.spec.locations[0].custom_headers[0];
    let stored: usize = header.value.as_str().parse()?;
    assert!(stored >= round, "round {round} was answered, but {stored} is stored");
    let expected = format!("X-Round: {stored}\r\n");
    let served = || async {
        get(port, "busy.example", "/").await.is_ok_and(|(_, text)| text.contains(&expected))
    };
    wait_for("the last change on nginx", Duration::from_secs(60), served).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    let tally = load.stop().await;
    println!(
        "{kills} kills, {answered} changes answered, {} requests answered, {} failures",
        tally.answers,
        tally.failures.len()
    );
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(answered > 50 && tally.answers > 1000);
    Ok(())
}
