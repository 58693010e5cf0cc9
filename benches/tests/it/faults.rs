//! What does not work leaves the old configuration serving, says why, and heals.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nxmesh_benches::{NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_core::{
    MergePatch,
    gateway::{AgentState, LastApply, link::ApplyStatus},
};
use rustix::process::Signal;
use serde_json::json;

/// How long to wait for a verdict; how long it took is printed.
const VERDICT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until the agent has refused something, and answers what it said.
async fn verdict(mesh: &TestMesh) -> Result<LastApply> {
    let began = Instant::now();
    let refused = || async {
        let shown = mesh.shown().await;
        shown.is_ok_and(|it| {
            it.last_apply.is_some_and(|it| {
                matches!(it.status, ApplyStatus::Failed | ApplyStatus::RolledBack)
            })
        })
    };
    wait_for("the agent to refuse", VERDICT, refused).await?;
    println!("verdict after {:?}", began.elapsed());
    let shown = mesh.shown().await?;
    assert_eq!(shown.state, AgentState::Degraded);
    shown.last_apply.context("the agent says nothing")
}

/// A part that is refused is not held back: all is.
async fn strict(mesh: &TestMesh) -> Result<()> {
    let strict = MergePatch::new(json!({"settings": {"on_refusal": "strict"}}))?;
    mesh.client.workspaces().update(mesh.workspace, &strict).await?;
    Ok(())
}

async fn serves(port: u16, host: &str) -> bool {
    get(port, host, "/").await.is_ok_and(|(status, _)| status == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_held_is_told_and_heals_when_it_is_free() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    strict(&mesh).await?;
    let port = free_port();
    mesh.serve(&mesh.host("old.example", port)).await?;
    let holder = TcpListener::bind("0.0.0.0:0")?;
    let held = holder.local_addr()?.port();
    mesh.client.virtual_hosts().create(mesh.workspace, &mesh.host("new.example", held)).await?;
    let refused = verdict(&mesh).await?;
    assert_eq!(refused.status, ApplyStatus::RolledBack);
    assert!(
        refused.error_message.contains(&format!("bind() to 0.0.0.0:{held} failed")),
        "{refused:?}"
    );
    assert!(serves(port, "old.example").await);
    drop(holder);
    wait_for("the new virtual host", PATIENCE, || serves(held, "new.example")).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directive_that_fails_only_at_load_is_told_and_heals_when_it_is_taken_back() -> Result<()>
{
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    mesh.serve(&mesh.host("old.example", port)).await?;
    let zone = |key: &str| {
        let directive = json!({"limit_req_zone": format!("{key} zone=perip:1m rate=1000r/s")});
        MergePatch::new(json!({"settings": {"nginx_directives": directive}}))
    };
    let version = || async { mesh.shown().await.ok()?.health.map(|it| it.config_version) };
    let first =
        mesh.client.workspaces().update(mesh.workspace, &zone("$binary_remote_addr")?).await?;
    wait_for("the zone", PATIENCE, || async { version().await == Some(first.revision) }).await?;
    // `nginx -t` takes this; the running nginx, which has the zone under another key, does not.
    mesh.client.workspaces().update(mesh.workspace, &zone("$request_uri")?).await?;
    let refused = verdict(&mesh).await?;
    assert_eq!(refused.status, ApplyStatus::RolledBack);
    assert!(
        refused.error_message.contains("limit_req \"perip\" uses the \"$request_uri\" key"),
        "{refused:?}"
    );
    assert!(serves(port, "old.example").await);
    mesh.client.workspaces().update(mesh.workspace, &zone("$binary_remote_addr")?).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_refuses_changes_nothing_and_heals_when_it_is_mended() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    strict(&mesh).await?;
    let port = free_port();
    let host = mesh.serve(&mesh.host("old.example", port)).await?;
    let broken = MergePatch::new(json!({"custom_directives": {"expires": "no such time"}}))?;
    mesh.client.virtual_hosts().update(host.id, &broken).await?;
    let refused = verdict(&mesh).await?;
    assert_eq!(refused.status, ApplyStatus::Failed);
    let field = format!("virtual host old.example ({}): custom_directives.expires: ", host.id);
    assert!(refused.error_message.starts_with(&field), "{refused:?}");
    assert!(serves(port, "old.example").await);
    let mended = MergePatch::new(json!({"custom_directives": {"expires": "1h"}}))?;
    mesh.client.virtual_hosts().update(host.id, &mended).await?;
    let shows = || async {
        get(port, "old.example", "/").await.is_ok_and(|(_, text)| text.contains("max-age=3600"))
    };
    wait_for("the mended virtual host", PATIENCE, shows).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_during_the_apply_is_replaced_by_one_with_the_old_configuration()
-> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    strict(&mesh).await?;
    let port = free_port();
    mesh.serve(&mesh.host("old.example", port)).await?;
    // A port that is held keeps the apply under way for some seconds.
    let holder = TcpListener::bind("0.0.0.0:0")?;
    let held = holder.local_addr()?.port();
    mesh.client.virtual_hosts().create(mesh.workspace, &mesh.host("new.example", held)).await?;
    let log = mesh.agent.folder().join("logs/error.log");
    let tries = || async {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Address already in use"))
    };
    wait_for("nginx to try the port", PATIENCE, tries).await?;
    mesh.agent.signal_nginx(Signal::KILL)?;
    let refused = verdict(&mesh).await?;
    assert_eq!(refused.status, ApplyStatus::RolledBack);
    assert!(refused.error_message.contains("died"), "{refused:?}");
    wait_for("the old virtual host", PATIENCE, || serves(port, "old.example")).await?;
    drop(holder);
    wait_for("the new virtual host", PATIENCE, || serves(held, "new.example")).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_is_replaced() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    mesh.serve(&mesh.host("old.example", port)).await?;
    let before = mesh.agent.nginx_pid();
    mesh.agent.signal_nginx(Signal::KILL)?;
    wait_for("another master", PATIENCE, || async {
        mesh.agent.nginx_pid() != before && serves(port, "old.example").await
    })
    .await?;
    mesh.wait_for_state(AgentState::Online).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_takes_nginx_over_without_a_reload() -> Result<()> {
    let mut mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    mesh.serve(&mesh.host("old.example", port)).await?;
    let workers = |master: Option<u32>| {
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", master.unwrap_or(1)))
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (master, before) = (mesh.agent.nginx_pid(), workers(mesh.agent.nginx_pid())?);
    mesh.agent.kill().await?;
    mesh.wait_for_state(AgentState::Offline).await?;
    assert!(serves(port, "old.example").await);
    mesh.agent.restart()?;
    mesh.wait_for_state(AgentState::Online).await?;
    assert_eq!((mesh.agent.nginx_pid(), workers(master)?), (master, before));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_answered_by_the_agent() -> Result<()> {
    let mut mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let outcome = mesh.client.agents().reload(mesh.agent_id).await?;
    assert!(outcome.success, "{outcome:?}");
    mesh.agent.kill().await?;
    mesh.wait_for_state(AgentState::Offline).await?;
    let error = mesh.client.agents().reload(mesh.agent_id).await.unwrap_err();
    let error = error.api().context("the server did not say")?;
    assert_eq!((error.status, error.code.as_str()), (503, "SERVICE_UNAVAILABLE"));
    Ok(())
}
