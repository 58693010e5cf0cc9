use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use nxmesh_client::Client;
use tokio::process::Command;

use crate::{Process, binary};

pub(crate) const EMAIL: &str = ServerProcess::EMAIL;
pub(crate) const PASSWORD: &str = ServerProcess::PASSWORD;

/// What secrets are stored under by all servers of one store.
pub const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The reference server.
#[derive(Debug)]
pub struct ServerProcess {
    setup: Setup,
    process: Process,
    http: String,
    grpc: String,
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
struct Setup {
    folder: PathBuf,
    /// SQLite in the folder, if none is named.
    store: Option<String>,
    tls: Option<Certificate>,
    more: Vec<String>,
    environment: Vec<(String, String)>,
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
    /// The e-mail address of the administrator of every server that is started here.
    pub const EMAIL: &str = "admin@example.com";
    /// Their password.
    pub const PASSWORD: &str = "correct horse battery";

    /// Starts a server on free ports and SQLite, with its data in this folder.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_anew(Setup { folder: folder.to_owned(), ..Setup::default() }).await
    }

    /// The same with this store, which other servers may share.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_on(folder: &Path, store: &str) -> Result<Self> {
        let (folder, store) = (folder.to_owned(), Some(store.to_owned()));
        Self::start_anew(Setup { folder, store, ..Setup::default() }).await
    }

    /// The same with TLS on both ports.
    pub(crate) async fn start_with_tls(folder: &Path, tls: Certificate) -> Result<Self> {
        let (folder, tls) = (folder.to_owned(), Some(tls));
        Self::start_anew(Setup { folder, tls, ..Setup::default() }).await
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(folder: &Path, more: &[&str]) -> Result<Self> {
        let more = more.iter().map(ToString::to_string).collect();
        Self::start_anew(Setup { folder: folder.to_owned(), more, ..Setup::default() }).await
    }

    /// The same with this in its environment too.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_within(folder: &Path, environment: Vec<(String, String)>) -> Result<Self> {
        let folder = folder.to_owned();
        Self::start_anew(Setup { folder, environment, ..Setup::default() }).await
    }

    /// The same with the port for agents at this address, in plain text.
    pub(crate) async fn start_at_address(folder: &Path, grpc: Ipv4Addr) -> Result<Self> {
        let more = vec!["--insecure".to_owned()];
        let setup = Setup { folder: folder.to_owned(), more, ..Setup::default() };
        Self::start_at(setup, "127.0.0.1:0", &format!("{grpc}:0")).await
    }

    async fn start_anew(setup: Setup) -> Result<Self> {
        Self::start_at(setup, "127.0.0.1:0", "127.0.0.1:0").await
    }

    async fn start_at(setup: Setup, http: &str, grpc: &str) -> Result<Self> {
        let mut command = Command::new(binary("nxmesh-server")?);
        command.args(["--http", http, "--grpc", grpc]);
        if !setup.more.iter().any(|it| it == "--heartbeat-seconds") {
            command.args(["--heartbeat-seconds", "1"]);
        }
        // Load is what these servers are for.
        command.args(["--requests-per-minute", "0", "--logins-per-minute", "0"]);
        command.args(["--rendezvous-requests-per-second", "0"]);
        command.args(["--rendezvous-peer-requests-per-second", "0"]);
        command.args(&setup.more).arg("--data-dir").arg(&setup.folder);
        if let Some(store) = &setup.store {
            command.args(["--store", store]);
        }
        if let Some(Certificate { chain, key }) = &setup.tls {
            command.arg("--tls-cert").arg(chain).arg("--tls-key").arg(key);
        }
        command.envs([
            ("NXMESH_ADMIN_EMAIL", EMAIL),
            ("NXMESH_ADMIN_PASSWORD", PASSWORD),
            ("NXMESH_MASTER_KEY", MASTER_KEY),
        ]);
        command.envs(setup.environment.iter().map(|(name, value)| (name, value)));
        std::fs::create_dir_all(&setup.folder)?;
        let mut process = Process::start(&mut command, &setup.folder.join("server.log"))?;
        let http = process.said("http listening on ").await?;
        let grpc = process.said("grpc listening on ").await?;
        Ok(Self { setup, process, http, grpc })
    }

    /// A client that is logged in as the administrator.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn client(&self) -> Result<Client> {
        let client = Client::new(self.http())?;
        client.auth().login(EMAIL, PASSWORD).await?;
        Ok(client)
    }

    /// The body of a login as the administrator.
    #[must_use]
    pub fn login(&self) -> serde_json::Value {
        serde_json::json!({"email": EMAIL, "password": PASSWORD})
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
        if self.setup.tls.is_some() { "https" } else { "http" }
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
        self.restart().await
    }

    /// Starts it again, once it has ended, on the same ports and data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        let (http, grpc) = (self.http.clone(), self.grpc.clone());
        *self = Self::start_at(self.setup.clone(), &http, &grpc).await?;
        Ok(())
    }
}
