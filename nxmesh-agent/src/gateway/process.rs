//! What `/proc` says of processes.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

/// A process of nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
}

impl Process {
    /// The master that a pid file names, if it lives and was started with `config`:
    /// numbers of processes are used again.
    pub(super) fn master(pid_file: &Path, config: &Path) -> Option<Self> {
        let pid = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
        let process = Self { pid };
        process.is_master_of(config).then_some(process)
    }

    pub(super) fn is_master_of(self, config: &Path) -> bool {
        // nginx writes its command line into its title: `nginx: master process nginx -c ...`.
        let title = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let title = String::from_utf8_lossy(&title);
        let asked = title.split_once(" -c ").and_then(|(_, rest)| rest.split([' ', '\0']).next());
        title.contains("master process")
            && asked.is_some_and(|it| is_same_config(Path::new(it), config))
            && self.lives()
    }

    /// The processes that it started and that have not been reaped; `None` where the kernel
    /// does not tell.
    pub(super) fn children(self) -> Option<Vec<i32>> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).ok()?;
        Some(children.split_ascii_whitespace().filter_map(|it| it.parse().ok()).collect())
    }

    /// Whether it runs: what has ended and is not yet reaped does not.
    pub(super) fn lives(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        state.is_some_and(|it| !it.starts_with(['Z', 'X']))
    }

    pub(super) async fn ends_within(self, patience: Duration) -> bool {
        let ended = async {
            while self.lives() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(patience, ended).await.is_ok()
    }

    pub(super) fn signal(self, signal: Signal) -> bool {
        Pid::from_raw(self.pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// The process that started it, or took it over.
    pub(super) fn parent(self) -> Option<i32> {
        self.stat(4)?.parse().ok()
    }

    /// When it was started, in ticks of the kernel; 0 when it is gone.
    pub(super) fn started(self) -> u64 {
        self.stat(22).and_then(|it| it.parse().ok()).unwrap_or_default()
    }

    /// A field of proc_pid_stat(5), of which two stand before the end of the name.
    fn stat(self, field: usize) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_ascii_whitespace().nth(field.checked_sub(3)?).map(str::to_owned)
    }

    /// For how long it has been running.
    pub(super) fn uptime_seconds(self) -> u64 {
        let started = self.stat(22).and_then(|it| it.parse::<u64>().ok());
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime: Option<f64> =
            uptime.split_ascii_whitespace().next().and_then(|it| it.parse().ok());
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        match (uptime, started) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "seconds since boot"
            )]
            (Some(uptime), Some(started)) => (uptime as u64).saturating_sub(started / ticks),
            _ => 0,
        }
    }
}

/// Whether both are the same file of the same link: whoever starts nginx may name the folder that
/// has the link in another way.
fn is_same_config(one: &Path, other: &Path) -> bool {
    let parts = |it: &Path| {
        let link = it.parent()?;
        let folder = link.parent()?.canonicalize().ok()?;
        Some((folder, link.file_name()?.to_owned(), it.file_name()?.to_owned()))
    };
    one == other || parts(one).is_some_and(|it| parts(other) == Some(it))
}
