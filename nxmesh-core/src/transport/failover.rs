//! Several control plane servers that are alike: one of them at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;

use crate::{
    Error, ErrorKind, Result,
    gateway::link::{AgentLink, Connector},
};

/// Dials several servers in turn. Each call begins with the one after the server that was
/// dialed last, so that whoever lost a server, or was sent away by it, tries another one first.
#[derive(Debug)]
pub struct Failover {
    servers: Vec<Arc<dyn Connector>>,
    next: AtomicUsize,
}

impl Failover {
    /// Dials these; the first one by chance, so that a fleet spreads over them.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when there are none.
    pub fn new(servers: Vec<Arc<dyn Connector>>) -> Result<Self> {
        if servers.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "no server to dial: name at least one"));
        }
        let next = rand::random_range(0..servers.len());
        Ok(Self { servers, next: AtomicUsize::new(next) })
    }
}

#[async_trait]
impl Connector for Failover {
    async fn connect(&self) -> Result<AgentLink> {
        let mut last = None;
        for _ in &self.servers {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len();
            let Some(server) = self.servers.get(at) else { continue };
            match server.connect().await {
                Ok(link) => return Ok(link),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Internal, "no server was dialed")))
    }
}
