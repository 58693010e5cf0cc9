//! Workers whose master was killed.
//!
//! They go on serving, and hold the ports: a new master could not open them. They
//! are known by the log that they have open, which is ours alone.

use std::{fs, path::Path};

use rustix::process::Signal;

use super::process::Process;

/// Tells all workers without a master to finish what they do and end: they close
/// the ports at once.
pub(super) fn dismiss(error_log: &Path) -> usize {
    let orphans = find(error_log);
    for orphan in &orphans {
        orphan.signal(Signal::QUIT);
    }
    orphans.len()
}

/// All processes of nginx that have this log open.
fn find(error_log: &Path) -> Vec<Process> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    pids.map(|pid| Process { pid }).filter(|it| is_nginx(*it) && has_open(*it, error_log)).collect()
}

fn is_nginx(process: Process) -> bool {
    let title = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    title.starts_with(b"nginx: ")
}

fn has_open(process: Process, file: &Path) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else { return false };
    open.flatten().any(|it| fs::read_link(it.path()).is_ok_and(|target| target == file))
}
