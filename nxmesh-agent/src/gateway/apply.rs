//! Serving what is wanted: stage, test, switch, reload, prove, or go back.

use std::{io, sync::Arc, time::Instant};

use nxmesh_core::gateway::{
    ConfigUpdate,
    link::ApplyStatus,
    nginx::{NginxFacts, render},
};

use super::{
    NginxError,
    engine::{Engine, MAX_RESTART_PAUSE, Report, TICK},
    generation::{Generation, Identity, prune},
    wanted::{Effective, Rotation, Wanted},
};
use crate::link::Spool;

impl Engine {
    /// Serves an update, and says what became of it.
    pub(super) async fn settle(&mut self, update: Arc<ConfigUpdate>) {
        let wanted = Wanted { update, rotation: Arc::clone(&self.rotation) };
        let identity = Identity::of(&wanted.update);
        let began = Instant::now();
        let (status, message) = match self.serve(&wanted, &Teller::of(self, &identity)).await {
            Ok(()) => (ApplyStatus::Success, String::new()),
            Err(Setback { status, error }) => (status, error.full()),
        };
        tracing::info!(version = %identity.version, ?status, message, took_ms = began.elapsed().as_millis(), "configuration settled");
        Teller::of(self, &identity).tell(status, message);
    }

    /// Serves what is served already, with what is out of rotation now. Nobody asked, so
    /// nobody is told.
    pub(super) async fn turn(&mut self, rotation: Arc<Rotation>) {
        self.rotation = rotation;
        self.turn_again = None;
        // Whoever stopped nginx does not want it started: what is out waits until it runs again.
        if self.stopped {
            self.turn_again = Some(Instant::now() + MAX_RESTART_PAUSE);
            return;
        }
        let current = Generation::behind(&self.nginx.dir().current());
        let kept = blocking(move || Ok(current.and_then(|it| it.wanted()))).await;
        // What an older agent left has to wait for the next update.
        let Ok(Some(wanted)) = kept else { return };
        let wanted = Wanted { rotation: Arc::clone(&self.rotation), ..wanted };
        match self.serve(&wanted, &Teller::Silent).await {
            Ok(()) => {
                self.turn_pause = TICK;
                tracing::info!(out = self.rotation.len(), "rotation changed");
            }
            Err(Setback { error, .. }) => {
                self.turn_again = Some(Instant::now() + self.turn_pause);
                self.turn_pause = (self.turn_pause * 2).min(MAX_RESTART_PAUSE);
                tracing::error!(error = error.full(), "cannot serve with another rotation");
            }
        }
    }

    /// The one way to what nginx serves, whatever changed: stage, test, switch, reload, prove,
    /// and go back where that fails. What comes to what is served already is proven only.
    async fn serve(&mut self, wanted: &Wanted, teller: &Teller) -> Result<(), Setback> {
        let effective = wanted.effective();
        if effective.identity.is_same_as(&self.verified)
            && self.nginx.serves_soon(&self.verified).await
        {
            return Ok(());
        }
        teller.tell(ApplyStatus::Pending, String::new());
        let failed = |error| Setback { status: ApplyStatus::Failed, error };
        let facts = self.nginx.facts().await.map_err(failed)?;
        teller.tell(ApplyStatus::Validating, String::new());
        let staged = self.stage_and_test(wanted, &effective, &facts).await.map_err(failed)?;
        let before = Generation::behind(&self.nginx.dir().current());
        teller.tell(ApplyStatus::Applying, String::new());
        self.switch(&staged).map_err(failed)?;
        self.stopped = false;
        let applied = match self.bring_up(&staged).await {
            Ok(()) => self.mark_verified(&staged),
            Err(error) => Err(error),
        };
        let Err(error) = applied else { return Ok(()) };
        let undone = match before {
            Some(before) => self.go_back(&before, &error).await,
            None => Ok(()),
        };
        if let Err(error) = undone {
            tracing::error!(error = error.full(), "cannot go back to the configuration before");
        }
        Err(Setback { status: ApplyStatus::RolledBack, error })
    }

    /// Serves what was served before.
    async fn go_back(&self, before: &Generation, error: &NginxError) -> Result<(), NginxError> {
        self.switch(before)?;
        // Where nginx refused the new one by itself, it never left the old one. In any other
        // case it may have, or may yet: it is told to come back.
        let never_left = matches!(error, NginxError::Refused(_));
        if never_left
            && self.nginx.master().is_some()
            && self.nginx.serves_soon(&before.identity).await
        {
            return Ok(());
        }
        self.bring_up(before).await
    }

    /// Renders, writes, and has nginx test; makes it safe from a crash meanwhile.
    pub(super) async fn stage_and_test(
        &mut self,
        wanted: &Wanted,
        effective: &Effective,
        facts: &NginxFacts,
    ) -> Result<Generation, NginxError> {
        let (wanted, effective) = (wanted.clone(), effective.clone());
        let (facts_there, nginx) = (facts.clone(), self.nginx.clone());
        let root = self.nginx.dir().root().to_owned();
        let stage = move || {
            let rendered = render(&effective.to_render(), &facts_there, &nginx.place());
            let like = Generation::behind(&nginx.dir().current()).map(|it| it.folder);
            let like = like.as_deref();
            Generation::stage(nginx.dir(), effective.identity, &wanted, &rendered, like)
        };
        let staged = blocking(stage).await.map_err(NginxError::io(root.clone()))?;
        let (staged, unsynced) = staged;
        let syncing = tokio::task::spawn_blocking(move || unsynced.sync());
        let began = Instant::now();
        let tested = self.nginx.test(&staged.folder, facts.version).await;
        self.loading = began.elapsed();
        let synced = syncing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let fine = tested.and_then(|()| synced.map_err(NginxError::io(root)));
        if let Err(error) = fine {
            if let Err(error) = staged.discard() {
                tracing::warn!(%error, "cannot remove a configuration that was refused");
            }
            return Err(error);
        }
        Ok(staged)
    }

    pub(super) fn current(&self) -> Result<Generation, NginxError> {
        let link = self.nginx.dir().current();
        Generation::behind(&link)
            .ok_or_else(|| NginxError::Io { path: link, source: io::ErrorKind::NotFound.into() })
    }

    pub(super) fn switch(&self, to: &Generation) -> Result<(), NginxError> {
        let link = self.nginx.dir().current();
        self.nginx.dir().point(&link, &to.folder).map_err(NginxError::io(link))
    }

    pub(super) fn mark_verified(&mut self, generation: &Generation) -> Result<(), NginxError> {
        let link = self.nginx.dir().verified();
        self.nginx.dir().point(&link, &generation.folder).map_err(NginxError::io(link))?;
        self.verified = generation.identity.clone();
        self.running.send_modify(|it| it.verified = generation.identity.clone());
        if let Err(error) = prune(self.nginx.dir()) {
            tracing::warn!(%error, "cannot remove old configurations");
        }
        Ok(())
    }
}

/// Who is told of the steps.
enum Teller {
    /// The server, which asked for this.
    Server(Identity, Arc<Spool>),
    /// Nobody.
    Silent,
}

impl Teller {
    fn of(engine: &Engine, identity: &Identity) -> Self {
        Self::Server(identity.clone(), Arc::clone(&engine.spool))
    }

    fn tell(&self, status: ApplyStatus, error_message: String) {
        let Self::Server(identity, spool) = self else { return };
        spool.report(Report { identity: identity.clone(), status, error_message });
    }
}

/// Works with files where that holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

struct Setback {
    status: ApplyStatus,
    error: NginxError,
}
