//! A server behind nginx dies while the control plane is dead too.

use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use nxmesh_benches::{Backend, NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_client::{Received, Watch};
use nxmesh_core::{
    events::EventId,
    gateway::{NewLocation, NewUpstream, UpstreamServer, checks::ServerState},
};
use serde_json::{from_value, json};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_finds_without_the_control_plane_is_told_when_it_is_back() -> Result<()> {
    let mut mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let second = Backend::start("the second").await?;
    let name = second.address();
    let upstream = NewUpstream {
        servers: vec![UpstreamServer::at(mesh.backend.address()), UpstreamServer::at(&name)],
        health_check: from_value(json!({"enabled": true, "interval": 1, "timeout": 1}))?,
        ..mesh.upstream("shop")
    };
    let upstream = mesh.client.upstreams().create(mesh.workspace, &upstream).await?;
    let port = free_port();
    let mut host = mesh.host("shop.example", port);
    host.locations = vec![NewLocation {
        path: "/".into(),
        upstream_id: Some(upstream.id.to_string()),
        ..NewLocation::default()
    }];
    mesh.serve(&host).await?;
    // How the second server is for the one agent.
    let state = async |mesh: &TestMesh| {
        let health = mesh.client.upstreams().health(upstream.id).await.ok()?;
        Some(health.servers.get(1)?.agents.first()?.state)
    };
    let healthy = || async { state(&mesh).await == Some(ServerState::Healthy) };
    wait_for("the second server to be found well", PATIENCE, healthy).await?;

    mesh.server.process().kill().await?;
    drop(second);
    let out = || async {
        let config = mesh.agent.folder().join("current/upstreams");
        let file = config.join(format!("{}.conf", upstream.id));
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|it| it.contains(&name) && it.contains(" down;"))
    };
    wait_for("the agent to take it out", PATIENCE, out).await?;
    for _ in 0..20 {
        assert_eq!(get(port, "shop.example", "/").await?.0, 200);
    }
    mesh.server.restart().await?;

    let mut watch = Watch::default();
    watch.patterns = vec!["health.alert".parse()?, "agent.connected".parse()?];
    watch.since = Some(EventId(0));
    let mut events = mesh.client.events().watch(watch).await?;
    let expected = format!("upstream server {name} of shop is unhealthy: connection refused");
    let mut connected = None;
    let alert = loop {
        let Some(received) = events.next().await else { anyhow::bail!("no more events") };
        let Received::Event(event) = received? else { continue };
        match event.event.event_type.as_str() {
            "agent.connected" => connected = Some(event.event.timestamp),
            _ if event.event.data["message"] == expected.as_str() => break event.event,
            _ => {}
        }
    };
    let happened: chrono::DateTime<chrono::Utc> = from_value(alert.data["happened_at"].clone())?;
    assert_eq!(alert.data["severity"], "warning");
    assert!(connected.is_some_and(|it| happened < it), "{happened} {connected:?}");
    let unhealthy = || async { state(&mesh).await == Some(ServerState::Unhealthy) };
    wait_for("its state to be shown", PATIENCE, unhealthy).await?;
    Ok(())
}
