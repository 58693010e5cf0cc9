//! Reloading, and proving that it worked.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    NginxError, error_log::ErrorLog, generation::Identity, nginx::Nginx, probe, process::Process,
};
use crate::faults::{self, Point};

/// For how long old workers may answer after a reload: nginx lets them for 100 ms.
const OLD_WORKERS: Duration = Duration::from_millis(250);
/// How many answers in a row are taken for what all workers say.
const STEADY: usize = 8;
/// What a reload may take beyond loading: nginx tries for 2.5 s to open a port.
const PATIENCE: Duration = Duration::from_secs(4);

impl Nginx {
    /// Has nginx load what `current` links to, and answers when new workers serve it.
    /// Exit codes and the end of a signal prove nothing: only the answer of a new
    /// worker does. nginx's log is read for the reason when it does not come.
    pub(super) async fn reload(&self, to: &Identity, loading: Duration) -> Result<(), NginxError> {
        let master = self.master().ok_or(NginxError::Died)?;
        let log = ErrorLog::from_here(&self.dir().error_log());
        let before = master.children();
        faults::at(Point::Reload).await;
        self.note_reload();
        if !master.signal(Signal::HUP) {
            return Err(NginxError::Died);
        }
        faults::at(Point::Proof).await;
        self.prove(Proof { master, before, what: to, log: &log }, PATIENCE + loading * 2).await
    }

    /// Starts nginx with what `current` links to, and answers when workers serve it.
    pub(super) async fn start_and_prove(&self, what: &Identity) -> Result<(), NginxError> {
        let log = ErrorLog::from_here(&self.dir().error_log());
        faults::at(Point::Reload).await;
        self.start().await?;
        let master = self.wait_for_master().await?;
        faults::at(Point::Proof).await;
        self.prove(Proof { master, before: None, what, log: &log }, PATIENCE).await
    }

    /// Whether workers serve this. For a moment after a reload the old ones answer too.
    pub(super) async fn serves_soon(&self, what: &Identity) -> bool {
        let began = Instant::now();
        while began.elapsed() < OLD_WORKERS {
            if self.serves(what).await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    /// Whether all workers serve this: old ones that answer for a moment only do not count.
    pub(super) async fn serves_steadily(&self, what: &Identity) -> bool {
        tokio::time::sleep(OLD_WORKERS).await;
        for _ in 0..STEADY {
            if !self.serves(what).await {
                return false;
            }
        }
        true
    }

    async fn serves(&self, what: &Identity) -> bool {
        let answer = probe::version(&self.dir().status_socket()).await;
        if answer.is_ok() {
            self.note_asked();
        }
        answer.is_ok_and(|it| it == what.answer())
    }

    async fn prove(&self, proof: Proof<'_>, patience: Duration) -> Result<(), NginxError> {
        let Proof { master, what, log, .. } = &proof;
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        while began.elapsed() < patience {
            if self.serves(what).await && proof.is_by_new_workers() {
                return Ok(());
            }
            if !master.lives() {
                return Err(NginxError::Died);
            }
            if let Some(reason) = final_reason(&log.emergencies(master.pid)) {
                return Err(NginxError::Refused(reason));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(Duration::from_millis(10));
        }
        let said = [log.emergencies(master.pid), log.alerts(master.pid)].concat();
        let said = if said.is_empty() {
            "nginx said nothing".to_owned()
        } else {
            summary(&said).join("; ")
        };
        Err(NginxError::Unproven { waited_ms: began.elapsed().as_millis(), said })
    }

    /// nginx answers its start a moment before it has written its process id.
    async fn wait_for_master(&self) -> Result<Process, NginxError> {
        for _ in 0..200 {
            if let Some(master) = self.master() {
                return Ok(master);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(NginxError::Died)
    }
}

/// What is to be proven, and by whom.
struct Proof<'a> {
    master: Process,
    /// The workers that answered before; `None` if there were none, or nobody knows.
    before: Option<Vec<i32>>,
    what: &'a Identity,
    log: &'a ErrorLog,
}

impl Proof<'_> {
    /// Old workers answer the same when nginx reloads what it serves already.
    fn is_by_new_workers(&self) -> bool {
        match (&self.before, self.master.children()) {
            (Some(before), Some(now)) => now.iter().any(|it| !before.contains(it)),
            _ => true,
        }
    }
}

/// Why nginx gave up, if it did: a port that is held is tried several times.
fn final_reason(said: &[String]) -> Option<Vec<String>> {
    let tries = |it: &String| it.starts_with("bind() to ") && it.contains("failed (98:");
    let gave_up = said.iter().any(|it| !tries(it));
    gave_up.then(|| summary(said))
}

/// Each thing once.
fn summary(said: &[String]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for line in said {
        if !once.contains(line) {
            once.push(line.clone());
        }
    }
    once
}
