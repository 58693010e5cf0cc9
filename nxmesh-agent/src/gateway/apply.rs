//! Serving what is wanted: stage, test, switch, reload, prove, or go back.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use nxmesh_core::gateway::{
    ConfigUpdate,
    link::{ApplyStatus, Severity},
    nginx::{Blame, NginxFacts, blame, render},
};

use super::{
    NginxError,
    attempt::Attempt,
    engine::{Engine, MAX_RESTART_PAUSE, TICK},
    generation::{Generation, Identity, prune},
    look::Depth,
    ports,
    quarantine::Content,
    teller::Teller,
    wanted::{Effective, Rotation, Wanted},
};
use crate::{
    disk,
    faults::{self, Point},
};

/// How long what is held back waits until it is tried again without being asked: a server that
/// is there asks sooner.
const TRY_AGAIN: Duration = Duration::from_secs(60);

impl Engine {
    /// Serves an update, and says what became of it.
    pub(super) async fn settle(&mut self, update: Arc<ConfigUpdate>) {
        let identity = Identity::of(&update);
        let began = Instant::now();
        faults::at(Point::Before).await;
        self.follow(update.drift);
        self.look(Depth::Stamps).await;
        let teller = Teller::of(self, &identity);
        let (status, message, served) = match self.hold(&update) {
            None => self.come_to(update, &teller).await,
            Some(_) if self.verified.checksum == identity.checksum => {
                (ApplyStatus::Success, String::new(), self.good().await)
            }
            Some(until) => (ApplyStatus::Failed, until, None),
        };
        let held_back = served.as_ref().map(|it| it.kept.objects.len());
        tracing::info!(version = %identity.version, ?status, message, held_back, took_ms = began.elapsed().as_millis(), "configuration settled");
        teller.settled(status, message, served.as_ref());
    }

    async fn come_to(
        &mut self,
        update: Arc<ConfigUpdate>,
        teller: &Teller,
    ) -> (ApplyStatus, String, Option<Content>) {
        match self.serve(update, teller).await {
            Ok(served) => (ApplyStatus::Success, String::new(), Some(served)),
            Err(Setback { status, error }) => (status, error.full(), None),
        }
    }

    /// Serves what is served already, with what is out of rotation now. Nobody asked, so nobody is
    /// told, but of what is held back for it.
    pub(super) async fn turn(&mut self, rotation: Arc<Rotation>) {
        self.rotation = rotation;
        if self.holds_rotation() {
            return;
        }
        self.turn_again = None;
        // Whoever stopped nginx does not want it started: what is out waits until it runs again.
        if self.stopped {
            self.turn_again = Some(Instant::now() + MAX_RESTART_PAUSE);
            return;
        }
        // What an older agent left has to wait for the next update.
        let Some(content) = self.good().await else { return };
        let wanted = Wanted { content, rotation: Arc::clone(&self.rotation) };
        let effective = wanted.effective();
        if effective.identity.is_same_as(&self.verified) {
            return;
        }
        let done = match self.nginx.facts().await {
            Ok(facts) => self.bring(&wanted, &effective, &facts, &Teller::Silent).await,
            Err(error) => Err(Setback { status: ApplyStatus::Failed, error }),
        };
        let done = match done {
            // What nginx took once it may refuse by now: a name that is not found any more, say. That
            // is held back, and does not keep all others from turning.
            Err(Setback { error: NginxError::Refused(_), .. }) => self.serve_again().await,
            done => done,
        };
        match done {
            Ok(()) => {
                self.turn_pause = TICK;
                tracing::info!(out = self.rotation.len(), "rotation changed");
            }
            Err(Setback { error, .. }) => {
                if self.turn_pause == TICK {
                    let message = format!(
                        "servers cannot be taken out of rotation or back, and all stay as they are: {}",
                        error.full()
                    );
                    self.spool.alert("rotation", Severity::Error, message);
                }
                self.turn_again = Some(Instant::now() + self.turn_pause);
                self.turn_pause = (self.turn_pause * 2).min(MAX_RESTART_PAUSE);
                tracing::error!(error = error.full(), "cannot serve with another rotation");
            }
        }
    }

    /// Tries again what was asked for last, of which a part is held back, or all.
    pub(super) async fn try_again(&mut self) {
        if self.holds() {
            self.next_try = Some(Instant::now() + TRY_AGAIN);
            return;
        }
        if let Err(Setback { error, .. }) = self.serve_again().await {
            self.next_try = Some(Instant::now() + TRY_AGAIN);
            tracing::warn!(error = error.full(), "what was refused is refused again");
        }
    }

    /// Serves as much as nginx takes by now of what was asked for last. Nobody asked: what is told is
    /// only what changed by it.
    async fn serve_again(&mut self) -> Result<(), Setback> {
        let Some(before) = self.good().await else { return Ok(()) };
        let served = self.serve(Arc::clone(&before.update), &Teller::Silent).await?;
        if served.identity() != before.identity() {
            let teller = Teller::of(self, &Identity::of(&served.update));
            teller.settled(ApplyStatus::Success, String::new(), Some(&served));
        }
        Ok(())
    }

    /// What is held back is tried again after a restart too.
    pub(super) async fn remember_what_is_held_back(&mut self) {
        if let Some(content) = self.good().await {
            self.look_again_at(&content);
        }
    }

    /// What is proven to be served; read from its folder where it is not at hand, after a
    /// restart. What an older agent left says nothing.
    async fn good(&mut self) -> Option<Content> {
        let kept = self.running.borrow().kept_at(self.nginx.dir());
        let at_hand = self.good.take();
        let read = move || {
            let Some(verified) = Generation::behind(&kept) else { return Ok(None) };
            if at_hand.as_ref().is_some_and(|(identity, _)| *identity == verified.identity) {
                return Ok(at_hand);
            }
            Ok(verified.content().map(|content| (verified.identity, content)))
        };
        self.good = blocking(read).await.ok().flatten();
        self.good.as_ref().map(|(_, content)| content.clone())
    }

    /// Serves as much of an update as nginx takes; what is refused is held back, unless that is
    /// not wanted. Each try costs a test, and only the one that is taken a reload.
    async fn serve(
        &mut self,
        update: Arc<ConfigUpdate>,
        teller: &Teller,
    ) -> Result<Content, Setback> {
        let failed = |error| Setback { status: ApplyStatus::Failed, error };
        let good = self.good().await;
        // Whoever stopped nginx does not want it started for what it serves already.
        if let Some(good) = good.as_ref().filter(|it| self.stopped && it.is_of(&update)) {
            return Ok(good.clone());
        }
        let facts = self.nginx.facts().await.map_err(failed)?;
        let mut attempt = Attempt::new(update, good);
        loop {
            let content = attempt.content();
            let wanted = Wanted { content, rotation: Arc::clone(&self.rotation) };
            let effective = wanted.effective();
            let is_served = effective.identity.is_same_as(&self.verified);
            if is_served && self.nginx.serves_soon(&self.verified).await {
                self.look_again_at(&wanted.content);
                return Ok(wanted.content);
            }
            if self.is_ready_for_start(&effective.identity) {
                return Err(failed(NginxError::Away));
            }
            let done = match self.held_ports(&attempt, &effective, &facts) {
                said if said.is_empty() => self.bring(&wanted, &effective, &facts, teller).await,
                said => Err(failed(NginxError::Refused(said))),
            };
            let Err(Setback { status, error }) = done else {
                self.look_again_at(&wanted.content);
                return Ok(wanted.content);
            };
            let NginxError::Refused(said) = error else { return Err(Setback { status, error }) };
            let (update, place) = (effective.to_render(), self.nginx.place());
            let blames: Vec<_> =
                said.iter().flat_map(|it| blame(&update, &facts, &place, it)).collect();
            tracing::info!(said = said.join("; "), "nginx refuses");
            if !attempt.learn(&wanted.content, &blames, &said.join("; ")) {
                let error = NginxError::Refused(named(&blames, said));
                return Err(Setback { status, error });
            }
            if status == ApplyStatus::RolledBack {
                self.wait_for_reload().await.map_err(failed)?;
            }
        }
    }

    /// What nginx could not open, where it runs and that can be known without asking it.
    fn held_ports(
        &self,
        attempt: &Attempt,
        effective: &Effective,
        facts: &NginxFacts,
    ) -> Vec<String> {
        let current = Generation::behind(&self.nginx.dir().current());
        let is_known = current.is_some_and(|it| it.identity == self.verified);
        match attempt.good().filter(|_| is_known && self.nginx.master().is_some()) {
            Some(good) if !attempt.is_strict() => {
                ports::held(&effective.projection, &good.projection, facts)
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// What is held back may be taken some day, whether a server asks again or not.
    fn look_again_at(&mut self, content: &Content) {
        let holds_back = !content.kept.objects.is_empty();
        self.next_try = holds_back.then(|| Instant::now() + TRY_AGAIN);
    }

    /// The one way to what nginx serves, whatever changed: stage, test, switch, reload, prove,
    /// and go back where that fails.
    async fn bring(
        &mut self,
        wanted: &Wanted,
        effective: &Effective,
        facts: &NginxFacts,
        teller: &Teller,
    ) -> Result<(), Setback> {
        let failed = |error| Setback { status: ApplyStatus::Failed, error };
        teller.tell(ApplyStatus::Pending);
        teller.tell(ApplyStatus::Validating);
        let staged = self.stage_and_test(wanted, effective, facts).await.map_err(failed)?;
        let before = Generation::behind(&self.nginx.dir().current());
        teller.tell(ApplyStatus::Applying);
        faults::at(Point::Switch).await;
        if let Err(error) = self.switch(&staged) {
            give_up(&staged);
            return Err(failed(error));
        }
        self.stopped = false;
        let Err(error) = self.bring_up(&staged).await else {
            self.mark_verified(&staged);
            self.good = Some((staged.identity, wanted.content.clone()));
            return Ok(());
        };
        if matches!(error, NginxError::Away) {
            // It stays for whoever starts nginx.
            self.prune();
            return Err(failed(error));
        }
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
    async fn go_back(&mut self, before: &Generation, error: &NginxError) -> Result<(), NginxError> {
        self.switch(before)?;
        self.prune();
        // Where nginx refused the new one by itself, it never left the old one. In any other
        // case it may have, or may yet: it is told to come back.
        let never_left = matches!(error, NginxError::Refused(_));
        if never_left
            && self.nginx.master().is_some()
            && self.nginx.serves_soon(&before.identity).await
        {
            return Ok(());
        }
        // It may yet load what it was told to, and that is not somebody else's doing.
        self.drift.known.forget();
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
        let (clean, made_of) = (self.drift.is_clean(), wanted.clone());
        let stage = move || {
            let rendered = render(&effective.to_render(), &facts_there, &nginx.place());
            let like = Generation::behind(&nginx.dir().current()).map(|it| it.folder);
            // What somebody else changed is not taken along.
            let like = like.as_deref().filter(|_| clean);
            Generation::stage(nginx.dir(), effective.identity, &wanted, &rendered, like)
        };
        let staged = blocking(stage).await.map_err(NginxError::io(root.clone()))?;
        let (staged, unsynced) = staged;
        faults::at(Point::Test).await;
        let syncing = tokio::task::spawn_blocking(move || unsynced.sync());
        let began = Instant::now();
        let tested = self.nginx.test(&staged.folder, facts.version).await;
        self.loading = began.elapsed();
        let synced = syncing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let fine = tested.and_then(|()| synced.map_err(NginxError::io(root)));
        if let Err(error) = fine {
            give_up(&staged);
            return Err(error);
        }
        self.drift.made(&staged.folder, &made_of);
        Ok(staged)
    }

    pub(super) fn current(&self) -> Result<Generation, NginxError> {
        let link = self.nginx.dir().current();
        Generation::behind(&link)
            .ok_or_else(|| NginxError::Io { path: link, source: io::ErrorKind::NotFound.into() })
    }

    pub(super) fn switch(&mut self, to: &Generation) -> Result<(), NginxError> {
        let link = self.nginx.dir().current();
        disk::point(&link, &to.folder).map_err(NginxError::io(link))?;
        self.drift.watch(&to.folder);
        Ok(())
    }

    /// nginx is proven to serve this, whether that can be kept or not.
    pub(super) fn mark_verified(&mut self, generation: &Generation) {
        self.verified = generation.identity.clone();
        self.running.send_modify(|it| {
            it.verified = generation.identity.clone();
            it.folder = Some(generation.folder.clone());
        });
        self.loaded();
        self.unkept = Some(generation.folder.clone());
        if let Err(error) = self.keep_proof() {
            tracing::error!(%error, "cannot keep what is proven, and tries again until it can");
            return;
        }
        self.prune();
    }

    /// Links to what is proven, where that is still to be done. Until then an apply seems to be
    /// under way, which the next agent would find to be done.
    pub(super) fn keep_proof(&mut self) -> io::Result<()> {
        let Some(folder) = &self.unkept else { return Ok(()) };
        disk::point(&self.nginx.dir().verified(), folder)?;
        self.unkept = None;
        Ok(())
    }

    /// What nginx runs now is this agent's doing.
    pub(super) fn loaded(&mut self) {
        let master = self.nginx.master();
        self.drift.known.take(master);
        self.drift.loaded();
    }

    pub(super) fn prune(&self) {
        if let Err(error) = prune(self.nginx.dir()) {
            tracing::warn!(%error, "cannot remove old configurations");
        }
    }
}

/// Removes a configuration that nothing came of.
fn give_up(staged: &Generation) {
    if let Err(error) = staged.discard() {
        tracing::warn!(%error, "cannot remove a configuration that was given up");
    }
}

/// What is refused, by object and field as far as that is known.
fn named(blames: &[Blame], said: Vec<String>) -> Vec<String> {
    if blames.is_empty() {
        return said;
    }
    let mut once: Vec<String> = Vec::new();
    for blame in blames {
        let blame = blame.to_string();
        if !once.contains(&blame) {
            once.push(blame);
        }
    }
    once
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
