//! Requests go on while changes are made.

use std::time::Duration;

use anyhow::Result;
use nxmesh_benches::{Load, NginxBinary, Tally, TestMesh, free_port, get, wait_for};
use nxmesh_core::MergePatch;
use serde_json::json;

const CHANGES: usize = 200;
const CLIENTS: usize = 64;

/// Makes changes, each once the one before is served, while clients ask.
async fn changes_under(load: fn(usize, u16, &str) -> Load, nginx: NginxBinary) -> Result<Tally> {
    let mesh = TestMesh::start(&nginx).await?;
    let port = free_port();
    let host = mesh.serve(&mesh.host("busy.example", port)).await?;
    let load = load(CLIENTS, port, "busy.example");
    for round in 0..CHANGES {
        let header = json!({"name": "X-Round", "value": round.to_string()});
        let location = json!({"path": "/", "proxy_pass": format!("http://{}", mesh.backend.address()), "custom_headers": [header]});
        let patch = MergePatch::new(json!({"locations": [location]}))?;
        mesh.client.virtual_hosts().update(host.id, &patch).await?;
        let expected = format!("X-Round: {round}\r\n");
        let served = || async {
            get(port, "busy.example", "/").await.is_ok_and(|(_, text)| text.contains(&expected))
        };
        wait_for("the change", Duration::from_secs(20), served).await?;
    }
    let tally = load.stop().await;
    println!(
        "{CHANGES} changes, {CLIENTS} clients: {} answers, {} kept connections closed while idle, {} failures",
        tally.answers,
        tally.closed_idle,
        tally.failures.len()
    );
    Ok(tally)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_on_a_fresh_connection_fails() -> Result<()> {
    let tally = changes_under(Load::fresh, NginxBinary::packaged()?).await?;
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(tally.answers > 1000, "the clients hardly asked: {tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_connections_are_closed_only_while_idle() -> Result<()> {
    let tally = changes_under(Load::kept, NginxBinary::packaged()?).await?;
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(tally.answers > 1000, "the clients hardly asked: {tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_current_nginx_closes_no_kept_connection_on_a_client() -> Result<()> {
    let tally = changes_under(Load::kept, NginxBinary::current()?).await?;
    assert_eq!(tally.failures, Vec::<String>::new());
    assert_eq!(tally.closed_idle, 0);
    assert!(tally.answers > 1000, "the clients hardly asked: {tally:?}");
    Ok(())
}
