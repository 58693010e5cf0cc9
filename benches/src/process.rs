use std::{env, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// How long a program may take to say that it is ready.
const READY: Duration = Duration::from_secs(30);

/// A program that was started, and is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program; what it logs goes to the file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &std::path::Path) -> Result<Self> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().context("the program has no output")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// What follows `lead` on the line that begins with it.
    ///
    /// # Errors
    /// When the program ends without it, or takes too long.
    pub async fn said(&mut self, lead: &str) -> Result<String> {
        let find = async {
            while let Some(line) = self.lines.next_line().await? {
                if let Some(rest) = line.strip_prefix(lead) {
                    return Ok(rest.to_owned());
                }
            }
            bail!("the program ended without saying {lead:?}")
        };
        tokio::time::timeout(READY, find)
            .await
            .with_context(|| format!("the program does not say {lead:?}"))?
    }

    /// Each line that it says from here on, until it ends.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn rest(&mut self) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        while let Some(line) = self.lines.next_line().await? {
            rest.push(line);
        }
        Ok(rest)
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it as `kill -9` does, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill")
    }

    /// Tells it to stop, and answers its exit code.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn terminate(&mut self) -> Result<Option<i32>> {
        if let Some(id) = self.child.id() {
            signal(id, rustix::process::Signal::TERM)?;
        }
        Ok(self.child.wait().await?.code())
    }

    /// Its exit code, once it ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        Ok(self.child.wait().await?.code())
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(id: u32, signal: rustix::process::Signal) -> Result<()> {
    let pid =
        i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw).context("no process id")?;
    rustix::process::kill_process(pid, signal).context("cannot signal")
}

/// A program of this workspace, built beside the one that runs.
///
/// # Errors
/// When it is not there, saying how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let folders = own.ancestors().skip(1).take(3);
    let mut found = folders.map(|folder| folder.join(name)).filter(|path| path.is_file());
    found.next().with_context(|| {
        format!("{name} is not built: run `cargo build --workspace --bins --examples`, or ./scripts/test")
    })
}
