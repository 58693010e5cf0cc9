//! What a server holds in memory.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use nxmesh_benches::{Peer, Wire, ask, field, memory, request_for};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::server::{Server, Store, offer};

/// What a server that has just started holds in memory, and what with so many live offers.
pub(crate) async fn offers_at_rest(store: Store, folder: &Path, offers: usize) -> Result<()> {
    let mut server = Server::start(store, &folder.join("offers").join(store.name())).await?;
    let before = memory(server.id()?)?;
    server.fill(offers, |number| format!("\"topic {}\",\"all\"", number % 1000)).await?;
    let mut wire = Wire::open(server.address).await?;
    let answer = ask(&mut wire, &request_for("/offers/by-topic/all?limit=1", "")).await?;
    ensure!(answer.ends_with(&format!("\"total\":{offers},\"returned\":1}}")), "{answer}");
    let after = memory(server.id()?)?;
    println!("  memory: {before:.0} MiB at first, {after:.0} MiB with {offers} offers");
    Ok(())
}

/// How a peer waits for news.
#[derive(Clone, Copy)]
enum Push {
    ServerSentEvents,
    WebSocket,
}

impl Push {
    fn name(self) -> &'static str {
        match self {
            Self::ServerSentEvents => "server-sent events",
            Self::WebSocket => "WebSocket",
        }
    }

    async fn open(self, peer: &Peer, wire: Wire) -> Result<TcpStream> {
        match self {
            Self::ServerSentEvents => {
                let headers = format!("{}accept: text/event-stream\r\n", peer.authorization);
                wire.follow(&request_for("/events", &headers), 200).await
            }
            Self::WebSocket => {
                let headers = format!(
                    "{}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                    peer.authorization
                );
                wire.follow(&request_for("/events", &headers), 101).await
            }
        }
    }
}

/// What so many peers that wait for news cost in memory, and that they are told some.
pub(crate) async fn waiting(store: Store, folder: &Path, peers: usize) -> Result<()> {
    for push in [Push::ServerSentEvents, Push::WebSocket] {
        let folder = folder.join(push.name()).join(store.name());
        let mut server = Server::start(store, &folder).await?;
        let mut asking = Wire::open(server.address).await?;
        let before = memory(server.id()?)?;
        let mut waiting = Vec::new();
        for _ in 0..peers {
            let peer = Peer::register(&mut asking).await?;
            let stream = push.open(&peer, Wire::open(server.address).await?).await?;
            waiting.push((peer, stream));
        }
        let after = memory(server.id()?)?;
        println!(
            "  memory: {before:.0} MiB at first, {after:.0} MiB with {peers} peers that wait by {}",
            push.name()
        );
        let answerer = Peer::register(&mut asking).await?;
        for (peer, stream) in waiting.iter_mut().step_by(100) {
            let body = format!("{{\"offers\":[{}]}}", offer("\"waiting\""));
            let id = field(ask(&mut asking, &peer.post("/offers", &body)).await?, "id")?.to_owned();
            let path = format!("/offers/{id}/answer");
            ask(&mut asking, &answerer.post(&path, "{\"sdp\":\"an answer\"}")).await?;
            let told = tokio::time::timeout(Duration::from_secs(10), hears(stream, &id)).await;
            told.with_context(|| format!("nothing came by {}", push.name()))??;
        }
    }
    Ok(())
}

/// What as many cost a server that has nothing to say.
pub(crate) async fn silence((address, process): (SocketAddr, u32), peers: usize) -> Result<()> {
    let before = memory(process)?;
    let mut waiting = Vec::new();
    for _ in 0..peers {
        let wire = Wire::open(address).await?;
        waiting.push(wire.follow(&request_for("/events", ""), 200).await?);
    }
    let after = memory(process)?;
    println!(
        "hello: {before:.0} MiB at first, {after:.0} MiB with {peers} that wait by server-sent events"
    );
    Ok(())
}

/// Reads until this comes.
async fn hears(stream: &mut TcpStream, id: &str) -> Result<()> {
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(id) {
        ensure!(stream.read_buf(&mut heard).await? > 0, "the server closed the connection");
    }
    Ok(())
}
