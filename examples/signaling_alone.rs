//! Peer signaling alone, inside a service of your own: no mesh, no database. Try it with
//! `cargo run -p nxmesh-examples --example signaling_alone`, and `--example rendezvous_chat -- --server http://127.0.0.1:3000/rendezvous`.

use std::net::SocketAddr;

use nxmesh_core::{rendezvous::Rendezvous, store::memory::MemoryRendezvous};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rendezvous = Rendezvous::builder().store(MemoryRendezvous::new()).build()?;
    let signaling = nxmesh_server::rendezvous::offers(rendezvous);
    let app = axum::Router::new().nest_service("/rendezvous", signaling);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("signaling at http://{}/rendezvous", listener.local_addr()?);
    // Limits are by address: the routes are told from where each request comes.
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
