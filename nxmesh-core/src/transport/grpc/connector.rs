use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use nxmesh_proto::agent::v1::agent_service_client::AgentServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::{MAX_MESSAGE_BYTES, service::to_error, wire};
use crate::{
    Error, ErrorKind, Result,
    gateway::link::{AgentLink, Connector, LINK_CAPACITY},
};

/// How long dialing may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is probed, and how long the answer may take: a
/// network that swallows packets is noticed within their sum.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Dials a control plane by gRPC.
#[derive(Debug, Clone)]
pub struct GrpcConnector {
    endpoint: Endpoint,
}

impl GrpcConnector {
    /// Dials this address: `http://127.0.0.1:9090`, or `https://..`, for which the
    /// certificates are trusted that the machine trusts.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is no such address.
    pub fn new(server: &str) -> Result<Self> {
        Self::open(server, ClientTlsConfig::new().with_enabled_roots())
    }

    /// Dials this address, and trusts only certificates that these (in PEM) vouch for.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is no such address, or there are no such certificates.
    pub fn with_roots(server: &str, roots: &[u8]) -> Result<Self> {
        Self::open(server, ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots)))
    }

    fn open(server: &str, tls: ClientTlsConfig) -> Result<Self> {
        let bad = |error: tonic::transport::Error| {
            let message = format!("cannot dial {server}: http://HOST:PORT or https://HOST:PORT");
            Error::new(ErrorKind::Invalid, message).with_source(error)
        };
        let mut endpoint = Endpoint::from_shared(server.to_owned()).map_err(bad)?;
        if server.starts_with("https:") {
            endpoint = endpoint.tls_config(tls).map_err(bad)?;
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok(Self { endpoint })
    }
}

#[async_trait]
impl Connector for GrpcConnector {
    async fn connect(&self) -> Result<AgentLink> {
        let failed = |error| {
            Error::new(ErrorKind::Unavailable, "cannot reach the server").with_source(error)
        };
        let channel = self.endpoint.connect().await.map_err(failed)?;
        let mut client = AgentServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (outgoing, messages) = mpsc::channel(LINK_CAPACITY);
        let messages = ReceiverStream::new(messages).map(wire::from_agent_message);
        let answers = client.stream(messages).await.map_err(|status| to_error(&status))?;
        let incoming = answers.into_inner().filter_map(|message| async {
            match message {
                Ok(message) => wire::to_server_message(message),
                Err(status) => Some(Err(to_error(&status))),
            }
        });
        Ok(AgentLink { incoming: incoming.boxed(), outgoing })
    }
}
