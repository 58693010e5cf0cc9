use std::{convert::Infallible, net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    response::sse::{Event, Sse},
    routing::get,
};
use futures::stream;
use serde_json::json;
use tokio::{net::TcpListener, process::Command};

use crate::Process;

/// A bare axum server that answers a JSON of two words, in a process of its own: what is lost to
/// it is what our own code costs.
#[derive(Debug)]
pub struct Hello {
    process: Process,
    address: SocketAddr,
}

impl Hello {
    /// Starts this program again, with `hello` as its argument: it is to [`serve`](Self::serve) then.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        let mut program = Command::new(std::env::current_exe()?);
        let mut process = Process::start(program.arg("hello"), &folder.join("hello.log"))?;
        let address = process.said("hello listening on ").await?.parse()?;
        Ok(Self { process, address })
    }

    /// Where it is, and its process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn address(&self) -> Result<(SocketAddr, u32)> {
        Ok((self.address, self.process.id().context("hello has ended")?))
    }

    /// Is that server, for ever.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn serve() -> Result<()> {
        tokio::runtime::Runtime::new()?.block_on(async {
            let silent = async || Sse::new(stream::pending::<Result<Event, Infallible>>());
            let routes = Router::new()
                .route("/", get(async || Json(json!({"hello": "world"}))))
                .route("/events", get(silent));
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("hello listening on {}", listener.local_addr()?);
            Ok(axum::serve(listener, routes).await?)
        })
    }
}
