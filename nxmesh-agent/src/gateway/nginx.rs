//! The program: what it is, whether it takes a configuration, starting it.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nxmesh_core::gateway::nginx::{NginxFacts, NginxVersion, Place};
use tokio::process::Command;

use super::{NginxError, error_log::complaints, orphans, process::Process};
use crate::{StateDir, disk};

/// How long `nginx -V` may take.
const ASK: Duration = Duration::from_secs(10);
/// How long `nginx -t`, and a start, may take: thousands of certificates take seconds.
const LOAD: Duration = Duration::from_secs(120);
/// More connections than this cost memory that few need.
const MAX_CONNECTIONS: u64 = 8192;

/// An nginx program, and the state folder it is used with.
#[derive(Debug, Clone)]
pub(crate) struct Nginx {
    program: PathBuf,
    user: Option<String>,
    dir: Arc<StateDir>,
    pid_file: PathBuf,
    last_reload: Arc<Mutex<Option<Instant>>>,
    known: Arc<Mutex<Option<(Stamp, NginxFacts)>>>,
    asked: Arc<AtomicU64>,
}

/// What changes when a program is replaced: device, inode, time of change.
type Stamp = (u64, u64, i64, i64);

impl Nginx {
    /// `pid_file` is where the master writes its process id, if that is not in the state folder.
    pub(crate) fn new(
        program: PathBuf,
        user: Option<String>,
        dir: Arc<StateDir>,
        pid_file: Option<PathBuf>,
    ) -> Self {
        let pid_file = pid_file.unwrap_or_else(|| dir.pid_file());
        let (last_reload, known, asked) = (Arc::default(), Arc::default(), Arc::default());
        Self { program, user, dir, pid_file, last_reload, known, asked }
    }

    /// When nginx was last told to reload.
    pub(super) fn last_reload(&self) -> Option<Instant> {
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// nginx is told to reload now.
    pub(super) fn note_reload(&self) {
        let mut last = self.last_reload.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Instant::now());
    }

    pub(crate) fn dir(&self) -> &StateDir {
        &self.dir
    }

    /// What the program is. It is asked again when it was replaced, by an upgrade say.
    pub(crate) async fn facts(&self) -> Result<NginxFacts, NginxError> {
        let stamp = self
            .stamp()
            .map_err(|source| NginxError::Run { program: self.program.clone(), source })?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, facts)) = known.filter(|(then, _)| *then == stamp) {
            return Ok(facts);
        }
        let printed = self.run(&["-V"], ASK).await?.printed;
        let ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
        let unknown = |source| NginxError::Unknown { program: self.program.clone(), source };
        let facts = NginxFacts::parse(&printed, ipv6).map_err(unknown)?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, facts.clone()));
        Ok(facts)
    }

    fn stamp(&self) -> std::io::Result<Stamp> {
        let it = std::fs::metadata(&self.program)?;
        Ok((it.dev(), it.ino(), it.ctime(), it.ctime_nsec()))
    }

    /// Notes that the agent itself asked nginx something, which counts it as any request.
    pub(super) fn note_asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it did.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn place(&self) -> Place {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let connections = limit.maximum.unwrap_or(MAX_CONNECTIONS).clamp(512, MAX_CONNECTIONS);
        Place {
            status_socket: self.dir.status_socket(),
            pid_file: self.pid_file.clone(),
            error_log: self.dir.error_log(),
            failed_log: self.dir.failed_log(),
            temp_dir: self.dir.temp_dir(),
            user: self.user.clone(),
            worker_connections: u32::try_from(connections).unwrap_or(u32::MAX),
        }
    }

    /// Whether nginx would take the configuration in this folder.
    pub(super) async fn test(
        &self,
        folder: &Path,
        version: NginxVersion,
    ) -> Result<(), NginxError> {
        let config = folder.join("nginx.conf").display().to_string();
        let prefix = self.dir.root().display().to_string();
        let mut args = vec!["-t", "-q", "-c", &config, "-p", &prefix];
        // Says where errors go before the configuration does (1.19.5).
        if version >= NginxVersion(1, 19, 5) {
            args.extend(["-e", "stderr"]);
        }
        let ran = self.run(&args, LOAD).await?;
        if ran.success {
            Ok(())
        } else {
            Err(NginxError::Refused(complaints(&ran.printed, folder)))
        }
    }

    /// The master, if it runs.
    pub(super) fn master(&self) -> Option<Process> {
        Process::master(&self.pid_file, &self.config())
    }

    /// Starts nginx with what `current` links to. It runs on by itself, whatever
    /// becomes of the agent.
    pub(super) async fn start(&self) -> Result<(), NginxError> {
        let (log, socket) = (self.dir.error_log(), self.dir.status_socket());
        if orphans::dismiss(&log) > 0 {
            tracing::warn!("workers without a master were dismissed");
            // They close their sockets as soon as they see the signal.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A socket whose owner was killed stays, and nginx would not take its place.
        disk::remove_file(&socket).map_err(NginxError::io(socket))?;
        let config = self.config().display().to_string();
        let prefix = self.dir.root().display().to_string();
        let ran = self.run(&["-c", &config, "-p", &prefix], LOAD).await?;
        if ran.success {
            Ok(())
        } else {
            Err(NginxError::Refused(complaints(&ran.printed, &self.dir.current())))
        }
    }

    fn config(&self) -> PathBuf {
        self.dir.current().join("nginx.conf")
    }

    async fn run(&self, args: &[&str], patience: Duration) -> Result<Ran, NginxError> {
        let program = || self.program.clone();
        let child =
            Command::new(&self.program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
        let hangs = |_| NginxError::Hangs { program: program(), seconds: patience.as_secs() };
        let ended = tokio::time::timeout(patience, child).await.map_err(hangs)?;
        let ended = ended.map_err(|source| NginxError::Run { program: program(), source })?;
        let printed = [ended.stdout, ended.stderr].concat();
        Ok(Ran {
            success: ended.status.success(),
            printed: String::from_utf8_lossy(&printed).into_owned(),
        })
    }
}

struct Ran {
    success: bool,
    printed: String,
}
