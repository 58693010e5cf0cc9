use std::{
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An nginx to test with.
#[derive(Debug, Clone)]
pub struct NginxBinary(PathBuf);

impl NginxBinary {
    /// The one of the distribution: `NXMESH_TEST_NGINX`, or `/usr/sbin/nginx`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn packaged() -> Result<Self> {
        Self::find("NXMESH_TEST_NGINX", PathBuf::from("/usr/sbin/nginx"))
    }

    /// A current one: `NXMESH_TEST_NGINX_CURRENT`, or the one that `./scripts/test` installs.
    ///
    /// # Errors
    /// When it is not there.
    pub fn current() -> Result<Self> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nginx-current");
        Self::find("NXMESH_TEST_NGINX_CURRENT", tools)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "which program to test with is said in the environment"
    )]
    fn find(variable: &str, usual: PathBuf) -> Result<Self> {
        let path = std::env::var(variable).map_or(usual, PathBuf::from);
        if !path.is_file() {
            bail!(
                "{} is missing: ./scripts/test installs it, or {variable} names another",
                path.display()
            );
        }
        Ok(Self(path.canonicalize()?))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Asks for a path on a connection of its own; answers status and body.
///
/// # Errors
/// When no whole answer comes.
pub async fn get(port: u16, host: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).context("no status")?;
    Ok((status, format!("{head}\r\n\r\n{body}")))
}

/// Asks again and again, and answers how long it took until it was so.
///
/// # Errors
/// When it is not so in time, saying what was waited for.
pub async fn wait_for<F: Future<Output = bool>>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<Duration> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if ask().await {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("waited in vain for {what}")
}
