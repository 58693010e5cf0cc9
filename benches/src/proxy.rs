use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
};

/// A network between two, such as a server and its database, which can begin to swallow
/// everything without closing anything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    flows: Arc<watch::Sender<bool>>,
    _task: JoinSet<()>,
}

/// Where it leads.
#[derive(Debug, Clone)]
enum Behind {
    Socket(PathBuf),
    Port(SocketAddr),
}

impl Proxy {
    /// Leads from a free port of this machine to a Unix socket.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(socket: &Path) -> Result<Self> {
        Self::start_before(Behind::Socket(socket.to_owned())).await
    }

    /// The same to a port of this machine.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start_to(port: SocketAddr) -> Result<Self> {
        Self::start_before(Behind::Port(port)).await
    }

    async fn start_before(behind: Behind) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let flows = Arc::new(watch::Sender::new(true));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, behind, Arc::clone(&flows)));
        Ok(Self { address, flows, _task: task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing gets through, and nobody is told.
    pub fn stall(&self) {
        self.flows.send_replace(false);
    }

    /// Everything flows again; what was sent meanwhile arrives late.
    pub fn resume(&self) {
        self.flows.send_replace(true);
    }
}

async fn accept(listener: TcpListener, behind: Behind, flows: Arc<watch::Sender<bool>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (behind, flows) = (behind.clone(), flows.subscribe());
        connections.spawn(async move {
            // Either end may go at any time.
            match behind {
                Behind::Socket(socket) => {
                    let Ok(server) = UnixStream::connect(socket).await else { return };
                    let (from, to) = server.into_split();
                    join(client, from, to, flows).await;
                }
                Behind::Port(port) => {
                    let Ok(server) = TcpStream::connect(port).await else { return };
                    let (from, to) = server.into_split();
                    join(client, from, to, flows).await;
                }
            }
        });
    }
}

async fn join(
    client: TcpStream,
    from_server: impl AsyncRead + Unpin,
    to_server: impl AsyncWrite + Unpin,
    flows: watch::Receiver<bool>,
) {
    let (from_client, to_client) = client.into_split();
    let _ = tokio::join!(
        pass(from_client, to_server, flows.clone()),
        pass(from_server, to_client, flows)
    );
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flows: watch::Receiver<bool>,
) -> Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        flows.wait_for(|it| *it).await?;
        if read == 0 {
            return Ok(to.shutdown().await?);
        }
        to.write_all(&buffer[..read]).await?;
    }
}
