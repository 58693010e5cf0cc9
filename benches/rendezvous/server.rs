//! A server for each kind of store.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use axum::serve::ListenerExt;
use nxmesh_benches::{Peer, Process, ServerProcess, Wire, ask, free_port, session_description};
use nxmesh_core::{
    rendezvous::{Rendezvous, RendezvousSettings},
    store::memory::MemoryRendezvous,
};
use nxmesh_server::rendezvous::{RendezvousHttpSettings, offers_with};
use tokio::{net::TcpListener, process::Command};

/// How many offers are made with one request, to fill a server.
const BATCH: usize = 50;
/// How many offers there may be: what is measured makes more than are allowed otherwise.
const MAX_OFFERS: &str = "10000000";

/// Where a server keeps offers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Durable,
    Relaxed,
    Memory,
}

impl Store {
    pub(crate) const ALL: [Self; 3] = [Self::Durable, Self::Relaxed, Self::Memory];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Durable => "SQLite durable",
            Self::Relaxed => "SQLite relaxed",
            Self::Memory => "memory",
        }
    }

    fn durability(self) -> Option<&'static str> {
        match self {
            Self::Durable => Some("durable"),
            Self::Relaxed => Some("relaxed"),
            Self::Memory => None,
        }
    }
}

/// A server that speaks the protocol `offers` at the root of a port.
pub(crate) struct Server {
    running: Running,
    pub(crate) address: SocketAddr,
}

enum Running {
    /// The reference server.
    Reference(ServerProcess),
    /// This program, with the same routes: the reference server keeps nothing in memory alone.
    InMemory(Process),
}

impl Server {
    pub(crate) async fn start(store: Store, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let Some(durability) = store.durability() else {
            let mut program = Command::new(std::env::current_exe()?);
            let log = folder.join("server.log");
            let mut process = Process::start(program.arg("in-memory"), &log)?;
            let address = process.said("rendezvous listening on ").await?.parse()?;
            return Ok(Self { running: Running::InMemory(process), address });
        };
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let at = address.to_string();
        let more = ["--rendezvous-http", &at, "--rendezvous-durability", durability];
        let more = [&more[..], &["--rendezvous-max-offers", MAX_OFFERS]].concat();
        let process = ServerProcess::start_with(folder, &more).await?;
        Ok(Self { running: Running::Reference(process), address })
    }

    pub(crate) fn id(&mut self) -> Result<u32> {
        let process = match &mut self.running {
            Running::Reference(server) => server.process(),
            Running::InMemory(process) => process,
        };
        process.id().context("the server has ended")
    }

    /// Makes so many offers, by a peer for each request; `topics` says under which each is found.
    pub(crate) async fn fill(&self, offers: usize, topics: impl Fn(usize) -> String) -> Result<()> {
        let mut wire = Wire::open(self.address).await?;
        for first in (0..offers).step_by(BATCH) {
            let peer = Peer::register(&mut wire).await?;
            let these = first..(first + BATCH).min(offers);
            let count = these.len();
            let these: Vec<_> = these.map(|number| offer(&topics(number))).collect();
            let body = format!("{{\"offers\":[{}]}}", these.join(","));
            let answer = ask(&mut wire, &peer.post("/offers", &body)).await?;
            let made = answer.matches("\"expiresAt\":").count();
            ensure!(made == count, "{made} of {count} offers were made: {answer}");
        }
        Ok(())
    }
}

/// A new offer as JSON, under these topics, which are quoted; it outlives what is measured.
pub(crate) fn offer(topics: &str) -> String {
    let sdp = session_description(rand::random());
    format!("{{\"sdp\":\"{sdp}\",\"topics\":[{topics}],\"ttl\":3600000}}")
}

/// Is a server on a store in memory, for ever.
pub(crate) async fn serve_in_memory() -> Result<()> {
    let mut settings = RendezvousSettings::default();
    settings.max_offers = MAX_OFFERS.parse()?;
    let rendezvous =
        Rendezvous::builder().store(MemoryRendezvous::new()).settings(settings).build()?;
    let mut served = RendezvousHttpSettings::default();
    (served.requests_per_second, served.peer_requests_per_second) = (None, None);
    let routes = offers_with(rendezvous, &served);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("rendezvous listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // It is slower otherwise, and not wrong.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
