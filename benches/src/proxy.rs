use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::watch,
    task::JoinSet,
};

/// A network between a server and its database, which can begin to swallow everything
/// without closing anything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    flows: Arc<watch::Sender<bool>>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// Leads from a free port of this machine to a Unix socket.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(socket: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let flows = Arc::new(watch::Sender::new(true));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, socket.to_owned(), Arc::clone(&flows)));
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

async fn accept(listener: TcpListener, socket: PathBuf, flows: Arc<watch::Sender<bool>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (socket, flows) = (socket.clone(), flows.subscribe());
        connections.spawn(async move {
            let Ok(server) = UnixStream::connect(socket).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // Either end may go at any time.
            let _ = tokio::join!(
                pass(from_client, to_server, flows.clone()),
                pass(from_server, to_client, flows)
            );
        });
    }
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
