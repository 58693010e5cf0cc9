//! TLS on both ports.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::serve::Listener;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::{Identity, ServerTlsConfig};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes are under way at most; the next connection waits.
const MAX_HANDSHAKES: usize = 1024;

/// A certificate chain with its key.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    identity: Identity,
}

impl Tls {
    /// Reads both from PEM files.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self> {
        let read = |flag: &str, file: &Path| {
            fs::read(file).with_context(|| format!("cannot read {flag} {}", file.display()))
        };
        let (certificate, key) = (read("--tls-cert", certificate)?, read("--tls-key", key)?);
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
        let private =
            PrivateKeyDer::from_pem_slice(&key).context("--tls-key has no private key")?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain.context("--tls-cert")?, private)
            .context("--tls-cert and --tls-key do not go together")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), identity: Identity::from_pem(certificate, key) })
    }

    /// Speaks TLS on a socket.
    pub(crate) fn listen(&self, listener: TcpListener) -> TlsListener {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        TlsListener { listener, acceptor, handshakes: JoinSet::new() }
    }

    /// What tonic takes.
    pub(crate) fn for_grpc(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone())
    }
}

/// Hands out connections once their handshake is done: a slow one holds up nobody.
pub(crate) struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let room = self.handshakes.len() < MAX_HANDSHAKES;
            tokio::select! {
                (stream, peer) = Listener::accept(&mut self.listener), if room => {
                    let handshake = self.acceptor.accept(stream);
                    self.handshakes.spawn(async move {
                        let done = tokio::time::timeout(HANDSHAKE, handshake).await.ok()?;
                        done.map(|stream| (stream, peer)).ok()
                    });
                }
                Some(Ok(Some(done))) = self.handshakes.join_next() => return done,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
