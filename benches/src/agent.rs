use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::process::Signal;
use tokio::process::Command;

use crate::{NginxBinary, Process, binary, process::signal};

/// The reference agent, with an nginx of its own, which ends with this.
#[derive(Debug)]
pub struct AgentProcess {
    folder: PathBuf,
    server: String,
    token: String,
    surroundings: Surroundings,
    nginx: NginxBinary,
    process: Process,
}

/// Where an agent runs.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The network namespace, if not this one.
    pub namespace: Option<String>,
    /// Certificates to trust the server by, instead of those of the machine.
    pub roots: Option<PathBuf>,
    /// Where it keeps its state, if not beside the server.
    pub state: Option<PathBuf>,
    /// Where it dials, if not at the server.
    pub dials: Option<String>,
    /// What else is in its environment.
    pub environment: Vec<(String, String)>,
}

impl AgentProcess {
    /// Starts an agent with its state in this folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(folder: &Path, server: &str, token: &str, nginx: &NginxBinary) -> Result<Self> {
        Self::start_within(folder, server, token, nginx, Surroundings::default())
    }

    /// The same somewhere else.
    pub(crate) fn start_within(
        folder: &Path,
        server: &str,
        token: &str,
        nginx: &NginxBinary,
        surroundings: Surroundings,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let process = spawn(folder, server, token, nginx, &surroundings)?;
        let (folder, server, token) = (folder.to_owned(), server.to_owned(), token.to_owned());
        Ok(Self { folder, server, token, surroundings, nginx: nginx.clone(), process })
    }

    /// Kills the agent as `kill -9` does; nginx goes on.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.process =
            spawn(&self.folder, &self.server, &self.token, &self.nginx, &self.surroundings)?;
        Ok(())
    }

    /// The program.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process id of nginx's master, if it runs.
    #[must_use]
    pub fn nginx_pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.join("run/nginx.pid")).ok()?.trim().parse().ok()
    }

    /// Sends a signal to nginx's master.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal_nginx(&self, what: Signal) -> Result<()> {
        let pid = self.nginx_pid().ok_or_else(|| anyhow::anyhow!("nginx does not run"))?;
        signal(pid, what)
    }

    /// Where its state is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if let Some(pid) = self.process.id() {
            // The agent first: it would start nginx again.
            let _ = signal(pid, Signal::KILL);
        }
        // An nginx that never started, or has ended, is fine too.
        let _ = self.signal_nginx(Signal::TERM);
    }
}

fn spawn(
    folder: &Path,
    server: &str,
    token: &str,
    nginx: &NginxBinary,
    surroundings: &Surroundings,
) -> Result<Process> {
    let Surroundings { namespace, roots, state: _, dials: _, environment } = surroundings;
    let program = binary("nxmesh-agent")?;
    let mut command = match namespace {
        // It becomes the agent: its process id is the agent's.
        Some(name) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(program).arg("--insecure");
            command
        }
        None => Command::new(program),
    };
    command.args(["--server", server, "--token", token]);
    // What is tested and measured here is one reload after the other.
    command.args(["--min-reload-interval-ms", "0"]);
    command.arg("--state-dir").arg(folder).arg("--nginx").arg(nginx.path());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    if let Some(roots) = roots {
        command.arg("--ca-file").arg(roots);
    }
    Process::start(&mut command, &folder.join("agent.log"))
}
