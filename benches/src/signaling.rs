use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::{Wire, request, request_for};

/// A peer of the protocol `offers`, which asks over whichever connection it is given.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name.
    pub id: String,
    /// The line of a head that says who asks.
    pub authorization: String,
}

impl Peer {
    /// Has the server make one.
    ///
    /// # Errors
    /// When it does not.
    pub async fn register(wire: &mut Wire) -> Result<Self> {
        let body = ask(wire, &request("POST", "/register", "", "{}")).await?;
        let (id, secret) = (field(body, "peerId")?, field(body, "secret")?);
        ensure!(id.len() == 32 && secret.len() == 80, "no credential: {body}");
        let authorization = format!("authorization: Bearer {id}:{secret}\r\n");
        Ok(Self { id: id.to_owned(), authorization })
    }

    /// What it asks without a body.
    #[must_use]
    pub fn get(&self, path: &str) -> Vec<u8> {
        request_for(path, &self.authorization)
    }

    /// What it posts.
    #[must_use]
    pub fn post(&self, path: &str, body: &str) -> Vec<u8> {
        request("POST", path, &self.authorization, body)
    }
}

/// Asks, and answers the body of a success.
///
/// # Errors
/// When it is none.
pub async fn ask<'a>(wire: &'a mut Wire, request: &[u8]) -> Result<&'a str> {
    let reply = wire.ask(request).await?;
    let body = std::str::from_utf8(reply.body)?;
    ensure!(reply.status == 200, "answered {} {body}", reply.status);
    Ok(body)
}

/// The text that the first field of this name has; it has nothing escaped.
///
/// # Errors
/// When there is none.
pub fn field<'a>(body: &'a str, name: &str) -> Result<&'a str> {
    let mut rest = body;
    while let Some((_, after)) = rest.split_once(name) {
        if let Some((value, _)) = after.strip_prefix("\":\"").and_then(|it| it.split_once('"')) {
            return Ok(value);
        }
        rest = after;
    }
    None.with_context(|| format!("no {name}: {body}"))
}

/// A session description of 1.5 KB as it stands in a JSON text, different for each number.
#[must_use]
pub fn session_description(number: u64) -> String {
    let mut lines = vec![
        "v=0".to_owned(),
        format!("o=- {number} 2 IN IP4 127.0.0.1"),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        "a=group:BUNDLE 0".to_owned(),
        "a=msid-semantic: WMS".to_owned(),
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel".to_owned(),
        "c=IN IP4 0.0.0.0".to_owned(),
        format!("a=ice-ufrag:{:08x}", number as u32),
        format!("a=ice-pwd:{number:024x}"),
        format!(
            "a=fingerprint:sha-256 {}",
            "4A:AD:B9:B1:3F:82:18:3B:".repeat(4).trim_end_matches(':')
        ),
        "a=setup:actpass".to_owned(),
        "a=mid:0".to_owned(),
        "a=sctp-port:5000".to_owned(),
        "a=max-message-size:262144".to_owned(),
    ];
    for host in 1..=11 {
        lines.push(format!("a=candidate:{host} 1 udp 2122260223 10.0.{host}.17 5{host:04} typ host generation 0 network-id {host} network-cost 10"));
    }
    lines.into_iter().fold(String::new(), |mut text, line| {
        let _ = write!(text, "{line}\\r\\n");
        text
    })
}
