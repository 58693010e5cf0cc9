use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// What clients met.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Whole answers with status 200.
    pub answers: u64,
    /// How many of them had which text in their header `X-Version`.
    pub versions: BTreeMap<String, u64>,
    /// Kept connections that were closed before a byte of the answer came: what a
    /// client repeats by RFC 9112 9.3.1.
    pub closed_idle: u64,
    /// All else, each with what happened.
    pub failures: Vec<String>,
}

/// Clients that keep asking until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

/// How a client uses connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connections {
    Fresh,
    Kept,
}

impl Load {
    /// Clients with a new connection for each request.
    #[must_use]
    pub fn fresh(clients: usize, port: u16, host: &str) -> Self {
        Self::start(clients, port, host, Connections::Fresh)
    }

    /// Clients with one connection each, as long as it holds.
    #[must_use]
    pub fn kept(clients: usize, port: u16, host: &str) -> Self {
        Self::start(clients, port, host, Connections::Kept)
    }

    fn start(count: usize, port: u16, host: &str, connections: Connections) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..count {
            clients.spawn(client(port, host.to_owned(), connections, Arc::clone(&stop)));
        }
        Self { stop, clients }
    }

    /// Stops all clients, and answers what they met together.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        while let Some(ended) = self.clients.join_next().await {
            match ended {
                Ok(tally) => {
                    all.answers += tally.answers;
                    for (version, answers) in tally.versions {
                        *all.versions.entry(version).or_default() += answers;
                    }
                    all.closed_idle += tally.closed_idle;
                    all.failures.extend(tally.failures);
                }
                Err(error) => all.failures.push(error.to_string()),
            }
        }
        all
    }
}

enum Met {
    Answer { keep: bool, version: Option<String> },
    ClosedIdle,
    Failure(String),
}

async fn client(port: u16, host: String, connections: Connections, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<TcpStream> = None;
    while !stop.load(Ordering::Relaxed) {
        let reused = kept.is_some();
        let stream = match kept.take() {
            Some(stream) => Ok(stream),
            None => TcpStream::connect(("127.0.0.1", port)).await,
        };
        let met = match stream {
            Err(error) => Met::Failure(format!("connect: {error}")),
            Ok(mut stream) => {
                let asked = tokio::time::timeout(
                    Duration::from_secs(10),
                    ask(&mut stream, &host, connections, reused),
                )
                .await;
                let met = asked.unwrap_or_else(|_| Met::Failure("no answer in 10 s".to_owned()));
                if matches!(met, Met::Answer { keep: true, .. }) {
                    kept = Some(stream);
                }
                met
            }
        };
        match met {
            Met::Answer { version, .. } => {
                tally.answers += 1;
                if let Some(version) = version {
                    *tally.versions.entry(version).or_default() += 1;
                }
            }
            Met::ClosedIdle => tally.closed_idle += 1,
            Met::Failure(what) => tally.failures.push(what),
        }
        // A busy client, not one that takes the whole machine.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tally
}

async fn ask(stream: &mut TcpStream, host: &str, connections: Connections, reused: bool) -> Met {
    let connection = if connections == Connections::Fresh { "close" } else { "keep-alive" };
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n");
    let mut answer = Vec::new();
    if let Err(error) = stream.write_all(request.as_bytes()).await {
        return broken(reused, &answer, &error.to_string());
    }
    let mut buffer = [0_u8; 4096];
    loop {
        if let Some(met) = whole(&answer) {
            return met;
        }
        match stream.read(&mut buffer).await {
            Ok(0) => return broken(reused, &answer, "closed"),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) => return broken(reused, &answer, &error.to_string()),
        }
    }
}

/// A connection that broke: the reason tells whether a client may just repeat.
fn broken(reused: bool, answer: &[u8], why: &str) -> Met {
    if reused && answer.is_empty() {
        Met::ClosedIdle
    } else {
        Met::Failure(format!("{why} after {} bytes", answer.len()))
    }
}

/// What a whole answer means; `None` while it is not whole.
fn whole(answer: &[u8]) -> Option<Met> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    if body.len() < length? {
        return None;
    }
    let status = head.split(' ').nth(1)?;
    if status != "200" {
        return Some(Met::Failure(format!("status {status}")));
    }
    let version = head.lines().find_map(|it| it.strip_prefix("X-Version: ")).map(str::to_owned);
    Some(Met::Answer { version, keep: !lower.contains("connection: close") })
}
