use std::net::SocketAddr;

use anyhow::Result;
use axum::{Router, http::StatusCode, routing::any};
use tokio::{net::TcpListener, task::JoinSet};

/// A server that answers its name to whatever it is asked.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    task: JoinSet<()>,
}

impl Backend {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(name: &'static str) -> Result<Self> {
        Self::answering(StatusCode::OK, name).await
    }

    /// Starts one that answers whatever it is asked with status 500.
    ///
    /// # Errors
    /// When there is none.
    pub async fn failing() -> Result<Self> {
        Self::answering(StatusCode::INTERNAL_SERVER_ERROR, "broken\n").await
    }

    async fn answering(status: StatusCode, text: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(any(move || async move { (status, text) }));
        let mut task = JoinSet::new();
        task.spawn(async move {
            // It ends with this process.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, task })
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort_all();
    }
}
