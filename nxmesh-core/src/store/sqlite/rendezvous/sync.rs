//! Brings the log to the disk once a second, where commits do not wait for that.

use std::{
    fs::File,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{Error, ErrorKind, Result};

/// What a power cut may take.
const EVERY: Duration = Duration::from_secs(1);

/// The handle of the thread, which ends with it.
#[derive(Debug)]
pub(super) struct Syncer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Syncer {
    /// Watches over the log of this database, which is open.
    pub(super) fn start(database: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot watch over the log of the database")
                .with_source(error)
        };
        let mut name = database.as_os_str().to_owned();
        name.push("-wal");
        let log = File::open(&name).map_err(failed)?;
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = log.sync_data() {
                    tracing::error!(%error, "what was answered last may not survive a power cut");
                }
            }
        };
        let thread = thread::Builder::new().name("sqlite-sync".to_owned()).spawn(run);
        Ok(Self { stop: Some(stop), thread: Some(thread.map_err(failed)?) })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Should it have panicked, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}
