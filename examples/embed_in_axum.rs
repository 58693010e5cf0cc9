//! The control plane inside a service of your own: your routes, and the mesh under `/mesh`.
//!
//! `cargo run -p nxmesh-examples --bin embed_in_axum`, then
//! `curl -X POST 127.0.0.1:3000/mesh/v1/auth/login -d '{"email":"me@example.com","password":"correct horse"}'`

use std::net::SocketAddr;

use axum::{Router, routing::get};
use nxmesh_core::{Mesh, store::sqlite::SqliteStore};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A real service keeps its master key: without it, what is stored encrypted is
    // lost with the process, so this example keeps its store for one run only.
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("mesh.db")).await?;
    let mesh = Mesh::builder().store(store).build().await?;
    mesh.tenancy().users().create("me@example.com", "correct horse".to_owned().into()).await?;

    let app = Router::new()
        .route("/", get(|| async { "my own route\n" }))
        .nest("/mesh", nxmesh_server::http(mesh.clone()));
    // Limits are by address: the routes are told from where each request comes.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let agents = tonic::transport::Server::builder().add_service(nxmesh_server::grpc(&mesh));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/ and http://{0}/mesh/v1", listener.local_addr()?);
    tokio::select! {
        ended = axum::serve(listener, app) => ended?,
        ended = agents.serve("127.0.0.1:3001".parse()?) => ended?,
        _ = tokio::signal::ctrl_c() => {}
    }
    mesh.shutdown().await;
    Ok(())
}
