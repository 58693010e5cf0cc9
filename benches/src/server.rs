use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::process::Command;

use crate::{Process, binary};

/// The administrator of every server that is started here.
pub(crate) const EMAIL: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The reference server, on SQLite.
#[derive(Debug)]
pub struct ServerProcess {
    folder: PathBuf,
    process: Process,
    http: String,
    grpc: String,
    tls: Option<Certificate>,
}

/// A certificate that was made for a test, as files.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Makes one for this machine.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec![
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
        ])?;
        let it = Self { chain: folder.join("server.crt"), key: folder.join("server.key") };
        std::fs::write(&it.chain, made.cert.pem())?;
        std::fs::write(&it.key, made.signing_key.serialize_pem())?;
        Ok(it)
    }
}

impl ServerProcess {
    /// Starts a server on free ports, with its data in this folder.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_on(folder, "127.0.0.1:0", "127.0.0.1:0", None).await
    }

    /// The same with TLS on both ports.
    pub(crate) async fn start_with_tls(folder: &Path, tls: Certificate) -> Result<Self> {
        Self::start_on(folder, "127.0.0.1:0", "127.0.0.1:0", Some(tls)).await
    }

    async fn start_on(
        folder: &Path,
        http: &str,
        grpc: &str,
        tls: Option<Certificate>,
    ) -> Result<Self> {
        let mut command = Command::new(binary("nxmesh-server")?);
        command.args(["--http", http, "--grpc", grpc, "--heartbeat-seconds", "1"]);
        command.arg("--data-dir").arg(folder);
        if let Some(Certificate { chain, key }) = &tls {
            command.arg("--tls-cert").arg(chain).arg("--tls-key").arg(key);
        }
        command.envs([("NXMESH_ADMIN_EMAIL", EMAIL), ("NXMESH_ADMIN_PASSWORD", PASSWORD)]);
        std::fs::create_dir_all(folder)?;
        let mut process = Process::start(&mut command, &folder.join("server.log"))?;
        let http = process.said("http listening on ").await?;
        let grpc = process.said("grpc listening on ").await?;
        Ok(Self { folder: folder.to_owned(), process, http, grpc, tls })
    }

    /// Where REST is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("{}://{}", self.scheme(), self.http)
    }

    /// Where agents dial: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn grpc(&self) -> String {
        format!("{}://{}", self.scheme(), self.grpc)
    }

    fn scheme(&self) -> &str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The program.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it as `kill -9` does, and starts it again on the same ports and data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.process.kill().await?;
        let tls = self.tls.clone();
        *self = Self::start_on(&self.folder.clone(), &self.http.clone(), &self.grpc.clone(), tls)
            .await?;
        Ok(())
    }
}
