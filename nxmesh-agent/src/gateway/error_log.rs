//! What nginx writes when it refuses.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// At this size the log is set aside, in place of the one that was set aside before.
pub(super) const MAX_LOG_BYTES: u64 = 8 * 1024 * 1024;
/// How much is read at a time: what nginx says of one reload is far less.
const MAX_READ: u64 = 256 * 1024;

/// Follows the log from a moment on.
#[derive(Debug)]
pub(super) struct ErrorLog {
    path: PathBuf,
    offset: u64,
}

impl ErrorLog {
    /// What is written from now on.
    pub(super) fn from_here(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: fs::metadata(path).map_or(0, |it| it.len()) }
    }

    /// What the process with this id said since that stops a reload, in order.
    pub(super) fn emergencies(&self, pid: i32) -> Vec<String> {
        self.said("[emerg] ", pid)
    }

    /// What it said since that may be why a reload does not come to its end. A worker that
    /// dies is told here too, which stops nothing.
    pub(super) fn alerts(&self, pid: i32) -> Vec<String> {
        self.said("[alert] ", pid)
    }

    fn said(&self, level: &str, pid: i32) -> Vec<String> {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            // A log that cannot be read has nothing to say; the verdict is not made here.
            let _ = file.seek(SeekFrom::Start(self.offset));
            let _ = file.take(MAX_READ).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        text.lines().filter_map(|line| message(line, level, pid)).collect()
    }
}

/// `2026/03/02 12:00:00 [emerg] 123#123: bind() to ...` without what stands before the message.
fn message(line: &str, level: &str, pid: i32) -> Option<String> {
    let (_, rest) = line.split_once(level)?;
    let (who, message) = rest.split_once(": ")?;
    let said_by: i32 = who.split('#').next()?.parse().ok()?;
    (said_by == pid).then(|| message.to_owned())
}

/// What `nginx -t` printed, without times and what is only said for company: warnings stop
/// nothing.
pub(super) fn complaints(printed: &str, generation: &Path) -> Vec<String> {
    let folder = format!("{}/", generation.display());
    let lines = printed
        .lines()
        .filter(|line| !line.ends_with("test failed") && !line.ends_with("syntax is ok"))
        .filter(|line| !line.contains("[warn] ") && !line.contains("[notice] "));
    let lines = lines.map(|line| {
        let line = line.strip_prefix("nginx: ").unwrap_or(line);
        // The same is printed with a time and a process id before it when it goes to a log.
        let line = line.split_once("] ").map_or(line, |(_, rest)| rest);
        let line = match line.split_once(": ") {
            Some((who, rest)) if who.contains('#') && !who.contains(' ') => rest,
            _ => line,
        };
        line.replace(&folder, "")
    });
    lines.filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emergencies_of_the_master_are_found() {
        let line = "2026/03/02 12:00:00 [emerg] 7#7: bind() to 0.0.0.0:80 failed (98: Address already in use)";
        assert_eq!(
            message(line, "[emerg] ", 7).unwrap(),
            "bind() to 0.0.0.0:80 failed (98: Address already in use)"
        );
        assert_eq!(message(line, "[emerg] ", 8), None);
        assert_eq!(message(line, "[alert] ", 7), None);
        assert_eq!(message("[emerg] nonsense", "[emerg] ", 7), None);
    }

    #[test]
    fn complaints_are_what_a_person_needs() {
        let printed = "nginx: [warn] conflicting server name \"a\" on 0.0.0.0:80, ignored\n\
                       nginx: [emerg] unknown directive \"x\" in /s/gen/3/virtual-hosts/a.conf:4\n\
                       nginx: configuration file /s/gen/3/nginx.conf test failed\n";
        let said = complaints(printed, Path::new("/s/gen/3"));
        assert_eq!(said, ["unknown directive \"x\" in virtual-hosts/a.conf:4"]);
        let printed = "2026/03/02 12:00:00 [emerg] 12#12: host not found in upstream \"nowhere\" in /s/gen/3/x.conf:1\n";
        assert_eq!(
            complaints(printed, Path::new("/s/gen/3")),
            ["host not found in upstream \"nowhere\" in x.conf:1"]
        );
    }
}
