//! A change reaches nginx.

use std::time::{Duration, Instant};

use anyhow::Result;
use nxmesh_benches::{NginxBinary, TestMesh, free_port, get, wait_for};
use nxmesh_core::MergePatch;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_nginx_and_its_time_is_printed() -> Result<()> {
    let mesh = TestMesh::start(&NginxBinary::packaged()?).await?;
    let port = free_port();
    let mut hosts = Vec::new();
    for number in 0..10 {
        hosts.push(mesh.serve(&mesh.host(&format!("host{number}.example"), port)).await?);
    }
    let mut times = Vec::new();
    for round in 0..21 {
        let header = json!({"name": "X-Round", "value": round.to_string(), "always": true});
        let location = json!({"path": "/", "proxy_pass": format!("http://{}", mesh.backend.address()), "custom_headers": [header]});
        let patch = MergePatch::new(json!({"locations": [location]}))?;
        mesh.client.virtual_hosts().update(hosts[3].id, &patch).await?;
        let answered = Instant::now();
        let expected = format!("X-Round: {round}\r\n");
        let shows = || async {
            get(port, "host3.example", "/").await.is_ok_and(|(_, text)| text.contains(&expected))
        };
        wait_for("the new header", Duration::from_secs(10), shows).await?;
        times.push(answered.elapsed());
    }
    times.sort();
    println!(
        "PATCH answered to served, 10 virtual hosts: median {:?}, from {:?} to {:?}",
        times[10], times[0], times[20]
    );
    Ok(())
}
