use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How much is read at once, to begin with.
const BUFFER: usize = 16 * 1024;

/// A connection that is kept, and asks one thing after the other: HTTP/1.1 by hand, which
/// leaves the machine to the server.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Its status.
    pub status: u16,
    /// The whole body.
    pub body: &'a [u8],
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER] })
    }

    /// Sends a request, and waits for all of its answer.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no answer with a length.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Reply<'_>> {
        self.stream.write_all(request).await?;
        let (head, mut filled) = self.head().await?;
        let text = std::str::from_utf8(&self.buffer[..head])?;
        let status = status(text)?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.with_context(|| format!("no length: {text}"))?.parse()?;
        let (from, to) = (head + 4, head + 4 + length);
        if self.buffer.len() < to {
            self.buffer.resize(to, 0);
        }
        while filled < to {
            let count = self.stream.read(&mut self.buffer[filled..to]).await?;
            ensure!(count > 0, "the server closed the connection within an answer");
            filled += count;
        }
        ensure!(filled == to, "the server said more than was asked");
        Ok(Reply { status, body: &self.buffer[from..to] })
    }

    /// Sends a request for what does not end, and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection breaks, or the status is another one.
    pub async fn follow(mut self, request: &[u8], expected: u16) -> Result<TcpStream> {
        self.stream.write_all(request).await?;
        let (head, _) = self.head().await?;
        let text = std::str::from_utf8(&self.buffer[..head])?;
        ensure!(status(text)? == expected, "answered {text}");
        Ok(self.stream)
    }

    /// Reads until the head of an answer is there: where it ends, and how much was read.
    async fn head(&mut self) -> Result<(usize, usize)> {
        let mut filled = 0;
        loop {
            ensure!(filled < self.buffer.len(), "the head of the answer does not end");
            let count = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(count > 0, "the server closed the connection");
            filled += count;
            if let Some(end) = self.buffer[..filled].windows(4).position(|it| it == b"\r\n\r\n") {
                return Ok((end, filled));
            }
        }
    }
}

fn status(head: &str) -> Result<u16> {
    Ok(head.get(9..12).context("no status")?.parse()?)
}

/// A request without a body; each of the headers ends its line.
#[must_use]
pub fn request_for(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

/// A request with a body; each of the headers ends its line.
#[must_use]
pub fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
