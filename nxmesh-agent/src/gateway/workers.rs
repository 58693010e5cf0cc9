//! nginx's processes: whether somebody else replaced them, and old ones that do not end.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nxmesh_core::gateway::drift::DriftKind;
use rustix::process::Signal;

use super::process::Process;

/// How long a worker that was told to end may take before it is killed.
const INSISTING: Duration = Duration::from_secs(5);
/// How much of the end of the log says why workers ended.
const RECENT_LOG: usize = 64 * 1024;

/// The workers of a master.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Workers {
    /// Those that take connections.
    pub(super) active: Vec<i32>,
    /// Those that finish what they began.
    pub(super) draining: Vec<i32>,
}

impl Workers {
    /// `None` where the kernel does not tell.
    pub(super) fn of(master: Process) -> Option<Self> {
        let mut workers = Self::default();
        for pid in master.children()? {
            match role(pid) {
                Some(Role::Active) => workers.active.push(pid),
                Some(Role::Draining) => workers.draining.push(pid),
                None => {}
            }
        }
        Some(workers)
    }
}

#[derive(PartialEq, Eq)]
enum Role {
    Active,
    Draining,
}

/// nginx writes into its title what a process does.
fn role(pid: i32) -> Option<Role> {
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title);
    match title.trim_end_matches('\0').trim_end().strip_prefix("nginx: worker process")? {
        "" => Some(Role::Active),
        rest if rest.contains("shutting down") => Some(Role::Draining),
        _ => None,
    }
}

/// The processes as the agent last had to do with them.
#[derive(Debug, Default)]
pub(super) struct Known {
    master: Option<(i32, u64)>,
    active: Vec<i32>,
}

impl Known {
    /// What runs now is the agent's own doing.
    pub(super) fn take(&mut self, master: Option<Process>) {
        self.master = master.map(|it| (it.pid, it.started()));
        self.active = master.and_then(Workers::of).unwrap_or_default().active;
    }

    /// Whether somebody else replaced master or workers. A reload replaces all workers; one that
    /// died is replaced alone, and when all died the log says so.
    pub(super) fn replaced(&mut self, master: Option<Process>, log: &Path) -> Option<DriftKind> {
        let (master, before) = (master?, self.master?);
        if before != (master.pid, master.started()) {
            return Some(DriftKind::NginxRestarted);
        }
        let now = Workers::of(master)?.active;
        if now.is_empty() || self.active.is_empty() {
            return None;
        }
        if now.iter().any(|it| self.active.contains(it)) || died(&self.active, log) {
            self.active = now;
            return None;
        }
        Some(DriftKind::NginxReloaded)
    }

    /// What runs now is not known.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn had_master(&self) -> bool {
        self.master.is_some()
    }
}

/// Whether the log says that all of these ended by themselves.
fn died(workers: &[i32], log: &Path) -> bool {
    let log = fs::read(log).unwrap_or_default();
    let recent = String::from_utf8_lossy(&log[log.len().saturating_sub(RECENT_LOG)..]);
    workers.iter().all(|it| {
        let said = |how: &str| recent.contains(&format!("worker process {it} exited {how}"));
        said("on signal") || said("with code")
    })
}

/// Old workers, and how long they have been taking to end.
#[derive(Debug, Default)]
pub(super) struct Draining {
    since: HashMap<i32, Instant>,
    told: HashMap<i32, Instant>,
}

impl Draining {
    /// Counts old workers. Where they are more than `limit`, the oldest of those that had
    /// `patience` are ended.
    pub(super) fn tend(
        &mut self,
        master: Option<Process>,
        limit: usize,
        patience: Duration,
    ) -> usize {
        let now = Instant::now();
        let old = master.and_then(Workers::of).unwrap_or_default().draining;
        self.since.retain(|pid, _| old.contains(pid));
        self.told.retain(|pid, _| old.contains(pid));
        for pid in &old {
            self.since.entry(*pid).or_insert(now);
        }
        let Some(master) = master else { return 0 };
        let mut late: Vec<_> = old
            .iter()
            .filter(|it| self.since.get(*it).is_some_and(|since| now - *since >= patience))
            .map(|pid| Process { pid: *pid })
            .collect();
        late.sort_by_key(|it| (it.started(), it.pid));
        for worker in late.into_iter().take(old.len().saturating_sub(limit)) {
            let signal = match self.told.get(&worker.pid) {
                None => Signal::TERM,
                Some(at) if now - *at >= INSISTING => Signal::KILL,
                Some(_) => continue,
            };
            // Numbers of processes are used again: it is looked at once more.
            if worker.parent() == Some(master.pid) && role(worker.pid) == Some(Role::Draining) {
                tracing::warn!(
                    pid = worker.pid,
                    ?signal,
                    "an old worker of nginx took too long to end"
                );
                worker.signal(signal);
                self.told.entry(worker.pid).or_insert(now);
            }
        }
        old.len()
    }
}
