//! Asking one server, once.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use nxmesh_core::gateway::{HealthCheck, checks::MAX_CHECK_ERROR};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

/// How long the head of an answer may be.
const MAX_HEAD: usize = 16 * 1024;
/// How much of a body is taken, and for how long, so that the server is not cut off in what it says.
const MAX_BODY: u64 = 64 * 1024;
const BODY: Duration = Duration::from_secs(1);

/// Whether the server answers as it should; why not, for people.
pub(super) async fn ask(
    address: &str,
    check: &HealthCheck,
    names: &Arc<Semaphore>,
) -> Result<(), String> {
    let exchange = async {
        let addresses = resolve(address, names).await?;
        let plain = |error: io::Error| error.kind().to_string();
        let mut stream = TcpStream::connect(addresses.as_slice()).await.map_err(plain)?;
        let status = status(&mut stream, address, &check.path).await?;
        Ok((status, stream))
    };
    let late = |_| format!("no answer within {} s", check.timeout);
    let patience = Duration::from_secs(check.timeout.into());
    let answered = tokio::time::timeout(patience, exchange).await.map_err(late)?;
    let (status, stream) = answered.map_err(|it: String| cut(&it))?;
    // What comes, or does not come any more, says nothing of the server's health.
    let rest = async { tokio::io::copy(&mut stream.take(MAX_BODY), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(BODY, rest).await;
    match status {
        200..=399 => Ok(()),
        _ => Err(format!("it answers with status {status}")),
    }
}

/// The addresses of a server, looked up now. Looking up a name may take far longer than whoever
/// waits does, and cannot be stopped: only so many are under way at a time.
async fn resolve(address: &str, names: &Arc<Semaphore>) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let unknown = |why: &dyn std::fmt::Display| format!("cannot resolve the name: {why}");
    let permit = Arc::clone(names).acquire_owned().await.map_err(|error| unknown(&error))?;
    let name = address.to_owned();
    let look_up = move || {
        let _until_it_ends = permit;
        name.to_socket_addrs().map(Vec::from_iter)
    };
    let found = tokio::task::spawn_blocking(look_up).await.map_err(|error| unknown(&error))?;
    let found = found.map_err(|error| unknown(&error))?;
    if found.is_empty() { Err(unknown(&"it has no address")) } else { Ok(found) }
}

/// Asks over HTTP/1.1, and answers the status.
async fn status(stream: &mut TcpStream, host: &str, path: &str) -> Result<u16, String> {
    let broken = |error: io::Error| error.kind().to_string();
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: nxmesh-agent/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    loop {
        while let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") {
            let status = parse_status(&answer)?;
            // 100 and 103 come before the answer itself.
            if !(100..200).contains(&status) || status == 101 {
                return Ok(status);
            }
            answer.drain(..end + 4);
        }
        if answer.len() > MAX_HEAD {
            return Err(format!("the head of its answer is longer than {MAX_HEAD} bytes"));
        }
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err("it closes the connection without an answer".to_owned());
        }
    }
}

fn parse_status(answer: &[u8]) -> Result<u16, String> {
    let not_http = || "it does not speak HTTP/1".to_owned();
    let rest = answer.strip_prefix(b"HTTP/1.").ok_or_else(not_http)?;
    // `1 200`, and what follows.
    let digits = rest.get(2..5).filter(|_| rest.get(1) == Some(&b' ')).ok_or_else(not_http)?;
    let status = std::str::from_utf8(digits).ok().and_then(|it| it.parse().ok());
    status.filter(|it| (100..600).contains(it)).ok_or_else(not_http)
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_CHECK_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use nxmesh_core::from_json;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    /// What is found of a server that says this, and then waits or closes.
    async fn found(says: Option<&'static [u8]>, closes: bool) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            assert!(request.starts_with("GET /up?a=<b> HTTP/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("\r\nHost: {address}\r\n")), "{request}");
            // Whoever asked may have gone.
            let _ = stream.write_all(says.unwrap_or_default()).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        };
        let check: HealthCheck = from_json(json!({"path": "/up?a=<b>", "timeout": 1})).unwrap();
        let names = Arc::new(Semaphore::new(1));
        let asked = ask(&address, &check, &names);
        tokio::pin!(asked);
        tokio::select! {
            found = &mut asked => found,
            () = server => asked.await,
        }
    }

    #[tokio::test]
    async fn answers_are_judged_by_their_status() {
        let fine: [&[u8]; 5] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.0 204 \r\n\r\n",
            b"HTTP/1.1 399\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
        ];
        for says in fine {
            assert_eq!(found(Some(says), true).await, Ok(()), "{}", says.escape_ascii());
        }
        let bad: [(&[u8], &str); 6] = [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers with status 400"),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "it answers with status 503"),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it answers with status 101"),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it does not speak HTTP/1"),
            (b"HTTP/1.1 20\r\n\r\n", "it does not speak HTTP/1"),
            (b"HTTP/1.1 200 OK\r\n", "it closes the connection without an answer"),
        ];
        for (says, why) in bad {
            assert_eq!(found(Some(says), true).await, Err(why.to_owned()));
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_in_time_or_at_all_is_not_well() {
        assert_eq!(found(None, false).await, Err("no answer within 1 s".to_owned()));
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
        assert_eq!(found(Some(whole), false).await, Ok(()), "a body that never comes");
        let endless = vec![b'x'; MAX_HEAD + 1].leak();
        let why = format!("the head of its answer is longer than {MAX_HEAD} bytes");
        assert_eq!(found(Some(endless), false).await, Err(why));
    }

    #[tokio::test]
    async fn why_a_server_cannot_be_reached_is_said() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let check: HealthCheck = from_json(json!({"timeout": 20})).unwrap();
        let names = Arc::new(Semaphore::new(1));
        let refused = ask(&gone.to_string(), &check, &names).await;
        assert_eq!(refused, Err("connection refused".to_owned()));
        let unknown = ask("nobody.invalid:80", &check, &names).await.unwrap_err();
        assert!(unknown.starts_with("cannot resolve the name: "), "{unknown}");
        let local = format!("localhost:{}", gone.port());
        assert_eq!(ask(&local, &check, &names).await, Err("connection refused".to_owned()));
    }
}
