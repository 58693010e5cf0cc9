//! Servers behind nginx, which are well or not as a test wants it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Answers each request with its name and the status of the moment, and closes the connection.
pub(crate) struct Backend {
    pub(crate) address: String,
    status: Arc<AtomicU16>,
    checks: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Backend {
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), name).await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the test's own task")]
    pub(crate) async fn at(address: SocketAddr, name: &'static str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (status, checks) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU64::new(0)));
        let (status_there, checks_there) = (Arc::clone(&status), Arc::clone(&checks));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (status, checks) = (Arc::clone(&status_there), Arc::clone(&checks_there));
                tokio::spawn(async move { answer(stream, name, &status, &checks).await });
            }
        });
        Self { address, status, checks, task }
    }

    /// Answers with this status from now on.
    pub(crate) fn say(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// How many health checks it was asked for.
    pub(crate) fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, name: &str, status: &AtomicU16, checks: &AtomicU64) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(read) if read > 0) {
            return;
        }
    }
    if request.starts_with(b"GET /up ") {
        checks.fetch_add(1, Ordering::Relaxed);
    }
    let status = status.load(Ordering::Relaxed);
    let text = format!(
        "HTTP/1.1 {status} X\r\nX-Text: {name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    // Whoever asked may be gone.
    let _ = stream.write_all(text.as_bytes()).await;
}
