//! Agents in the same process as the control plane: for embedding, tests and simulation.

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    Result,
    gateway::{
        Gateway,
        link::{AgentLink, Connector, LINK_CAPACITY, LinkHost, ServerLink},
    },
};

/// Two joined ends.
#[must_use]
pub fn pair() -> (ServerLink, AgentLink) {
    let (to_server, from_agent) = mpsc::channel(LINK_CAPACITY);
    let (to_agent, from_server) = mpsc::channel(LINK_CAPACITY);
    let server = ServerLink {
        peer: "in-process".to_owned(),
        incoming: ReceiverStream::new(from_agent).map(Ok).boxed(),
        outgoing: to_agent,
    };
    let agent =
        AgentLink { incoming: ReceiverStream::new(from_server).boxed(), outgoing: to_server };
    (server, agent)
}

/// Dials a control plane in this process.
#[derive(Debug, Clone)]
pub struct InProcessConnector {
    gateway: Gateway,
}

impl InProcessConnector {
    /// Dials this one.
    #[must_use]
    pub const fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }
}

#[async_trait]
impl Connector for InProcessConnector {
    async fn connect(&self) -> Result<AgentLink> {
        let (server, agent) = pair();
        self.gateway.attach(server);
        Ok(agent)
    }
}
