//! Looking after an nginx that somebody else starts and stops.

use std::{io::ErrorKind, os::unix::fs::MetadataExt, os::unix::net::UnixStream, time::Instant};

use super::{NginxError, engine::Engine, generation::Identity};
use crate::{Mode, disk};

impl Engine {
    pub(super) fn is_attached(&self) -> bool {
        self.mode == Mode::Attached
    }

    /// Refuses what whoever is attached leaves to others.
    pub(super) fn refuse_if_attached(&self, what: &str) -> Result<(), NginxError> {
        if self.is_attached() {
            let text = format!(
                "this agent is attached: somebody else starts and stops nginx (systemd, say), and has to {what} it"
            );
            return Err(NginxError::refused(text));
        }
        Ok(())
    }

    /// Whether this was tested and only waits for somebody to start nginx.
    pub(super) fn is_ready_for_start(&self, what: &Identity) -> bool {
        self.is_attached()
            && self.nginx.master().is_none()
            && self.drift.is_clean()
            && self.current().is_ok_and(|it| it.identity.is_same_as(what))
    }

    /// nginx does not run.
    pub(super) fn miss(&mut self) {
        if !self.away {
            tracing::error!(
                "nginx does not run, and this agent is attached: somebody else has to start it"
            );
            self.away = true;
            self.drift.known.forget();
            self.drift.call();
        }
        self.clear_the_way();
    }

    /// nginx runs: what it serves is proven. Where it was started with something else, it is told
    /// to load what it should.
    pub(super) async fn welcome(&mut self) {
        if !self.away || Instant::now() < self.next_restart || !self.may_reload() {
            return;
        }
        match self.prove_current().await {
            Ok(()) => {
                tracing::info!("nginx runs again");
                self.away = false;
                self.restart_pause = super::engine::TICK;
            }
            Err(error) => {
                tracing::error!(error = error.full(), "nginx does not serve what it should");
                self.pause_restarts();
            }
        }
        self.drift.call();
    }

    async fn prove_current(&mut self) -> Result<(), NginxError> {
        let current = self.current()?;
        if !self.nginx.serves_steadily(&current.identity).await {
            self.bring_up(&current).await?;
        }
        self.mark_verified(&current);
        Ok(())
    }

    /// A socket whose nginx was killed stays, and the next one would not take its place. It is
    /// removed when nobody listened on it twice: the one that begins to listen is left alone.
    fn clear_the_way(&mut self) {
        let socket = self.nginx.dir().status_socket();
        let refused = UnixStream::connect(&socket)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        let inode = std::fs::symlink_metadata(&socket).map(|it| it.ino()).ok().filter(|_| refused);
        if inode.is_some() && inode == self.dead_socket {
            // The next look finds out whether it is gone.
            let _ = disk::remove_file(&socket);
        }
        self.dead_socket = inode;
    }
}
