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
}

impl ServerProcess {
    /// Starts a server on free ports, with its data in this folder.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_on(folder, "127.0.0.1:0", "127.0.0.1:0").await
    }

    async fn start_on(folder: &Path, http: &str, grpc: &str) -> Result<Self> {
        let mut command = Command::new(binary("nxmesh-server")?);
        command.args(["--http", http, "--grpc", grpc, "--heartbeat-seconds", "1"]);
        command.arg("--data-dir").arg(folder);
        command.envs([("NXMESH_ADMIN_EMAIL", EMAIL), ("NXMESH_ADMIN_PASSWORD", PASSWORD)]);
        std::fs::create_dir_all(folder)?;
        let mut process = Process::start(&mut command, &folder.join("server.log"))?;
        let http = process.said("http listening on ").await?;
        let grpc = process.said("grpc listening on ").await?;
        Ok(Self { folder: folder.to_owned(), process, http, grpc })
    }

    /// Where REST is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Where agents dial: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn grpc(&self) -> String {
        format!("http://{}", self.grpc)
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
        *self =
            Self::start_on(&self.folder.clone(), &self.http.clone(), &self.grpc.clone()).await?;
        Ok(())
    }
}
