//! What somebody changes on the host of an agent does not stay, and is told.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use nxmesh_benches::{NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_core::{
    MergePatch,
    gateway::{
        AgentState,
        drift::{DriftEnd, DriftKind, DriftPolicy},
    },
};
use rustix::process::Signal;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(40);

fn host_file(mesh: &TestMesh) -> Result<PathBuf> {
    let mut hosts = std::fs::read_dir(mesh.agent.folder().join("current/virtual-hosts"))?;
    Ok(hosts.next().context("there is no virtual host")??.path().canonicalize()?)
}

async fn status(port: u16) -> Option<u16> {
    get(port, "a.example", "/").await.ok().map(|(status, _)| status)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_nginx_loaded_is_reported_then_put_back_when_that_is_decided() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let agents = mesh.client.agents();
    let port = free_port();
    mesh.serve(&mesh.host("a.example", port)).await?;
    agents.update(mesh.agent_id, &MergePatch::new(json!({"drift": {"policy": "report"}}))?).await?;
    wait_for("the agent to follow", PATIENCE, || async { only_reports(&mesh) }).await?;
    let file = host_file(&mesh)?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("proxy_pass", "return 418; #proxy_pass"))?;
    mesh.agent.signal_nginx(Signal::HUP)?;
    wait_for("nginx to load it", PATIENCE, || async { status(port).await == Some(418) }).await?;
    mesh.wait_for_state(AgentState::Degraded).await?;
    // The first look may have met the file while it was half written; the next one tells the rest.
    let reported = || async {
        let details = agents.drift(mesh.agent_id).await.ok();
        let last = details.and_then(|it| it.last).map(|it| it.files).unwrap_or_default();
        let shows_it =
            |diff: &str| diff.lines().any(|it| it.starts_with('+') && it.contains("return 418"));
        last.iter()
            .any(|it| it.kind == DriftKind::Changed && it.diff.as_deref().is_some_and(shows_it))
    };
    wait_for("the file to be named with what was written", PATIENCE, reported).await?;
    // A worker of before the reload may still take a connection; what was put back would stay so.
    wait_for("it to be only reported", PATIENCE, || async { status(port).await == Some(418) })
        .await?;

    agents
        .update(mesh.agent_id, &MergePatch::new(json!({"drift": {"policy": "restore"}}))?)
        .await?;
    wait_for("what should be served", PATIENCE, || async { status(port).await == Some(200) })
        .await?;
    mesh.wait_for_state(AgentState::Online).await?;
    let details = agents.drift(mesh.agent_id).await?;
    assert_eq!(details.policy, DriftPolicy::Restore);
    let ended = details.last.and_then(|it| it.ended).context("it did not end")?;
    assert_eq!(ended.by, DriftEnd::Agent);
    assert!(!std::fs::read_to_string(host_file(&mesh)?)?.contains("418"));
    Ok(())
}

/// Whether the agent was told to only report, and keeps that.
fn only_reports(mesh: &TestMesh) -> bool {
    std::fs::read_to_string(mesh.agent.folder().join("drift.json"))
        .is_ok_and(|it| it.contains("report"))
}
