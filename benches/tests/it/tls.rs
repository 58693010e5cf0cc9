//! Both ports speak TLS, and only to who trusts them.

use anyhow::Result;
use nxmesh_benches::{NginxBinary, TestMesh, free_port};
use nxmesh_client::{Client, Error};
use nxmesh_core::gateway::link::Connector;
use nxmesh_core::transport::grpc::GrpcConnector;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_nginx_over_tls_and_strangers_are_not_spoken_to() -> Result<()> {
    let mesh = TestMesh::start_with_tls(&NginxBinary::packaged()?).await?;
    assert!(
        mesh.server.http().starts_with("https://") && mesh.server.grpc().starts_with("https://")
    );
    mesh.serve(&mesh.host("a.example", free_port())).await?;

    let stranger = Client::new(mesh.server.http())?;
    assert!(matches!(stranger.auth().login("a@b.c", "x").await, Err(Error::Transport(_))));
    let plain = Client::new(mesh.server.http().replace("https:", "http:"))?;
    assert!(matches!(plain.auth().login("a@b.c", "x").await, Err(Error::Transport(_))));
    assert!(GrpcConnector::new(&mesh.server.grpc())?.connect().await.is_err());
    Ok(())
}
