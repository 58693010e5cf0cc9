//! Asking nginx, on the status socket, what it serves.

use std::{io, path::Path, time::Duration};

use nxmesh_core::gateway::nginx::{STATUS_PATH, VERSION_PATH};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_ANSWER: u64 = 16 * 1024;

/// What nginx counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) active_connections: u32,
    pub(crate) total_requests: u64,
}

/// Version and checksum of what is served, by whichever worker answers.
pub(super) async fn version(socket: &Path) -> io::Result<String> {
    get(socket, VERSION_PATH).await
}

/// The counters; `None` where nginx was built without them.
pub(super) async fn counters(socket: &Path) -> io::Result<Option<Counters>> {
    get(socket, STATUS_PATH).await.map(|text| parse_counters(&text))
}

/// A request in HTTP/1.0 over a connection of its own, which needs no library: the
/// answer is all that comes until the end.
async fn get(socket: &Path, path: &str) -> io::Result<String> {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer =
        tokio::time::timeout(PATIENCE, ask).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body.trim().to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// <https://nginx.org/en/docs/http/ngx_http_stub_status_module.html>
fn parse_counters(text: &str) -> Option<Counters> {
    let active = text.lines().next()?.strip_prefix("Active connections:")?.trim();
    let requests = text.lines().nth(2)?.split_ascii_whitespace().nth(2)?;
    Some(Counters {
        active_connections: active.parse().ok()?,
        total_requests: requests.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_counters() {
        let text = "Active connections: 291 \nserver accepts handled requests\n 16630948 16630948 31070465 \nReading: 6 Writing: 179 Waiting: 106 ";
        let counters = Counters { active_connections: 291, total_requests: 31_070_465 };
        assert_eq!(parse_counters(text), Some(counters));
        assert_eq!(parse_counters("404"), None);
    }
}
