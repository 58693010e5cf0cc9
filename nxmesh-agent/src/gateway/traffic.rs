//! Counting what nginx answered.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use nxmesh_core::gateway::{
    Projection, VirtualHostId,
    checks::{MAX_COUNTED_HOSTS, Traffic},
};

use super::{Counters, Nginx};

/// At this size what was counted is removed from the file.
const MAX_FILE: u64 = 1024 * 1024;
/// How much is read at a look: more than this has to wait for the next one.
const MAX_LOOK: u64 = 16 * 1024 * 1024;

/// Counts all requests and those that failed, from its start on.
#[derive(Debug)]
pub(crate) struct TrafficCounter {
    nginx: Nginx,
    file: PathBuf,
    /// How far it was read.
    offset: u64,
    /// nginx's own count, and how often the agent itself had asked, at the last look.
    last: Option<(u64, u64)>,
    /// Virtual hosts, by what nginx writes of them.
    names: BTreeMap<String, VirtualHostId>,
    traffic: Traffic,
}

impl TrafficCounter {
    /// Begins to count: what nginx wrote before belongs to the agent before.
    pub(crate) fn begin(nginx: Nginx) -> Self {
        let file = nginx.dir().failed_log();
        let emptied = OpenOptions::new().create(true).append(true).mode(0o644).open(&file);
        if let Err(error) = emptied.and_then(|it| it.set_len(0)) {
            tracing::warn!(%error, path = %file.display(), "cannot count what fails");
        }
        let (names, traffic) = (BTreeMap::new(), Traffic::default());
        Self { nginx, file, offset: 0, last: None, names, traffic }
    }

    /// Knows the virtual hosts of this from now on.
    pub(crate) fn follow(&mut self, served: &Projection) {
        let name = |(id, host): (&VirtualHostId, &std::sync::Arc<_>)| {
            let host: &nxmesh_core::gateway::VirtualHostSpec = host;
            let first = host.server_name.iter().next()?;
            Some((format!("{}:{}", host.listen_port, first.as_str()), *id))
        };
        self.names = served.virtual_hosts.iter().filter_map(name).collect();
    }

    /// What was answered until now.
    pub(crate) fn look(&mut self, counters: Option<Counters>) -> Traffic {
        if let Some(counters) = counters {
            self.count(counters.total_requests);
        }
        if let Err(error) = self.read() {
            tracing::debug!(%error, path = %self.file.display(), "cannot count what failed");
        }
        self.traffic.clone()
    }

    /// Adds what is new in nginx's count, without what the agent asked itself. A restarted nginx
    /// begins at zero.
    fn count(&mut self, total: u64) {
        let asked = self.nginx.asked();
        let (total_before, asked_before) =
            self.last.replace((total, asked)).unwrap_or((total, asked));
        let new = total.checked_sub(total_before).unwrap_or(total);
        let new = new.saturating_sub(asked - asked_before);
        self.traffic.requests = Some(self.traffic.requests.unwrap_or(0) + new);
    }

    fn read(&mut self) -> io::Result<()> {
        let mut file = File::open(&self.file)?;
        let size = file.metadata()?.len();
        if size < self.offset {
            // Somebody else emptied it.
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut lines = BufReader::new(io::Read::take(&mut file, MAX_LOOK));
        let mut line = Vec::new();
        // The last line may not be whole yet.
        while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            self.offset += line.len() as u64;
            self.note(&String::from_utf8_lossy(&line[..line.len() - 1]));
            line.clear();
        }
        if self.offset > MAX_FILE && self.offset >= file.metadata()?.len() {
            // nginx appends: it goes on at the beginning. A line that comes right now is lost.
            OpenOptions::new().write(true).open(&self.file)?.set_len(0)?;
            self.offset = 0;
        }
        Ok(())
    }

    fn note(&mut self, name: &str) {
        self.traffic.failed += 1;
        let Some(id) = self.names.get(name) else { return };
        let hosts = &mut self.traffic.failed_by_virtual_host;
        if hosts.len() < MAX_COUNTED_HOSTS || hosts.contains_key(id) {
            *hosts.entry(*id).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use nxmesh_core::conformance::given::id;

    use super::*;
    use crate::StateDir;

    fn given() -> (tempfile::TempDir, TrafficCounter, Nginx) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Arc::new(StateDir::open(folder.path()).unwrap());
        std::fs::write(dir.failed_log(), "of the agent before\n").unwrap();
        let nginx = Nginx::new("/nonexistent".into(), None, dir, None);
        (folder, TrafficCounter::begin(nginx.clone()), nginx)
    }

    fn write(nginx: &Nginx, text: &str) {
        let mut file = OpenOptions::new().append(true).open(nginx.dir().failed_log()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn total(total_requests: u64) -> Option<Counters> {
        Some(Counters { total_requests, ..Counters::default() })
    }

    #[test]
    fn requests_are_counted_without_the_agents_own_and_across_restarts_of_nginx() {
        let (_folder, mut counter, nginx) = given();
        assert_eq!(counter.look(None).requests, None, "nobody knows");
        assert_eq!(counter.look(total(500)).requests, Some(0), "it begins here");
        nginx.note_asked();
        assert_eq!(counter.look(total(511)).requests, Some(10));
        assert_eq!(counter.look(None).requests, Some(10));
        assert_eq!(counter.look(total(3)).requests, Some(13), "nginx was restarted");
    }

    #[test]
    fn failures_are_counted_once_by_host_and_the_file_stays_small() {
        let (_folder, mut counter, nginx) = given();
        let shop = id();
        counter.names.insert("80:a.example".to_owned(), shop);
        assert_eq!(counter.look(None).failed, 0);
        write(&nginx, "80:a.example\n81:a.example\n80:a.ex");
        let traffic = counter.look(None);
        assert_eq!(traffic.failed, 2);
        assert_eq!(traffic.failed_by_virtual_host, [(shop, 1)].into());
        write(&nginx, "ample\n");
        assert_eq!(counter.look(None).failed_by_virtual_host, [(shop, 2)].into());
        let line = "80:a.example\n";
        let many = MAX_FILE as usize / line.len() + 1;
        write(&nginx, &line.repeat(many));
        assert_eq!(counter.look(None).failed, 3 + many as u64);
        assert_eq!(std::fs::metadata(nginx.dir().failed_log()).unwrap().len(), 0);
        write(&nginx, line);
        assert_eq!(counter.look(None).failed, 4 + many as u64);
        std::fs::write(nginx.dir().failed_log(), "").unwrap();
        write(&nginx, line);
        assert_eq!(counter.look(None).failed, 4 + many as u64, "it cannot be told from before");
    }

    #[test]
    fn hosts_beyond_the_limit_count_in_the_total_only() {
        let (_folder, mut counter, nginx) = given();
        let mut lines = String::new();
        for number in 0..=MAX_COUNTED_HOSTS {
            counter.names.insert(number.to_string(), id());
            lines.push_str(&format!("{number}\n"));
        }
        write(&nginx, &lines);
        write(&nginx, "0\n");
        let traffic = counter.look(None);
        assert_eq!(traffic.failed, MAX_COUNTED_HOSTS as u64 + 2);
        assert_eq!(traffic.failed_by_virtual_host.len(), MAX_COUNTED_HOSTS);
        assert_eq!(traffic.failed_by_virtual_host[&counter.names["0"]], 2);
    }
}
