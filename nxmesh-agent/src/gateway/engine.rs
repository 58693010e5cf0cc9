//! The one who has nginx in hand: applies, supervises, carries out commands.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use nxmesh_core::{
    Tasks,
    gateway::{
        ConfigUpdate, Projection,
        link::{ApplyStatus, CommandAction},
        nginx::{NginxFacts, render},
    },
};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    NginxError,
    error_log::MAX_LOG_BYTES,
    generation::{Generation, Identity, prune},
    nginx::Nginx,
    probe::{self, Counters},
};
use crate::OnExit;

/// How often it is looked whether nginx lives.
const TICK: Duration = Duration::from_millis(500);
/// How long to wait between two tries to start an nginx that does not start.
const MAX_RESTART_PAUSE: Duration = Duration::from_secs(30);
const MAX_WAITING: usize = 64;

/// What an update has come to.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) identity: Identity,
    pub(crate) status: ApplyStatus,
    pub(crate) error_message: String,
}

/// What nginx is proven to serve, and whether it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) verified: Identity,
    pub(crate) pid: Option<i32>,
    pub(crate) uptime_seconds: u64,
    pub(crate) counters: Option<Counters>,
}

/// How others reach the engine.
#[derive(Debug)]
pub(crate) struct EngineHandle {
    updates: watch::Sender<Option<Arc<ConfigUpdate>>>,
    commands: mpsc::Sender<(CommandAction, oneshot::Sender<Result<String, String>>)>,
    running: watch::Receiver<Running>,
    nginx: Nginx,
}

/// Owns nginx.
pub(crate) struct Engine {
    pub(super) nginx: Nginx,
    pub(super) loading: Duration,
    /// Somebody told it to stop nginx: it is not started again by itself.
    pub(super) stopped: bool,
    verified: Identity,
    reports: mpsc::Sender<Report>,
    running: watch::Sender<Running>,
    restart_pause: Duration,
    next_restart: Instant,
}

impl EngineHandle {
    /// Hands over what should be served; of several, the newest only is looked at.
    pub(crate) fn update(&self, update: Arc<ConfigUpdate>) {
        self.updates.send_replace(Some(update));
    }

    /// Has a command carried out; the answer is for people.
    pub(crate) async fn command(&self, action: CommandAction) -> Result<String, String> {
        let busy = "too many commands wait";
        let (answer, answered) = oneshot::channel();
        self.commands.try_send((action, answer)).map_err(|_| busy.to_owned())?;
        answered.await.unwrap_or_else(|_| Err("the agent is stopping".to_owned()))
    }

    /// How nginx is, asked now.
    pub(crate) async fn running(&self) -> Running {
        let verified = self.running.borrow().verified.clone();
        let Some(master) = self.nginx.master() else {
            return Running { verified, ..Running::default() };
        };
        let counters = probe::counters(&self.nginx.dir().status_socket()).await.ok().flatten();
        Running {
            verified,
            pid: Some(master.pid),
            uptime_seconds: master.uptime_seconds(),
            counters,
        }
    }
}

impl Engine {
    /// Takes over the nginx that runs, or starts it with what it served last.
    pub(crate) async fn begin(
        nginx: Nginx,
        tasks: &Tasks,
        on_exit: OnExit,
    ) -> Result<(EngineHandle, mpsc::Receiver<Report>), NginxError> {
        let (reports, reported) = mpsc::channel(MAX_WAITING);
        let mut engine = Self {
            nginx: nginx.clone(),
            loading: Duration::ZERO,
            stopped: false,
            verified: Identity::default(),
            reports,
            running: watch::Sender::default(),
            restart_pause: TICK,
            next_restart: Instant::now(),
        };
        engine.recover().await?;
        let (updates, new_updates) = watch::channel(None);
        let (commands, new_commands) = mpsc::channel(MAX_WAITING);
        let handle = EngineHandle { updates, commands, running: engine.running.subscribe(), nginx };
        tasks.spawn(engine.run(new_updates, new_commands, tasks.clone(), on_exit));
        Ok((handle, reported))
    }

    async fn run(
        mut self,
        mut updates: watch::Receiver<Option<Arc<ConfigUpdate>>>,
        mut commands: mpsc::Receiver<(CommandAction, oneshot::Sender<Result<String, String>>)>,
        tasks: Tasks,
        on_exit: OnExit,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = tasks.stopping().cancelled() => break,
                changed = updates.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let update = updates.borrow_and_update().clone();
                    if let Some(update) = update {
                        self.settle(&update).await;
                    }
                }
                Some((action, answer)) = commands.recv() => {
                    let done = self.carry_out(action).await.map_err(|error| error.full());
                    // Whoever asked may be gone.
                    let _ = answer.send(done);
                }
                _ = tick.tick() => self.supervise().await,
            }
        }
        if on_exit == OnExit::Stop {
            let stopped = self.stop(Signal::QUIT, Duration::from_secs(5)).await;
            tracing::info!(?stopped, "nginx stopped with the agent");
        }
    }

    /// Finishes or undoes what an agent before this one began, and sees to it that
    /// nginx runs.
    async fn recover(&mut self) -> Result<(), NginxError> {
        let dir = self.nginx.dir();
        let verified = Generation::behind(&dir.verified());
        let current = match Generation::behind(&dir.current()).or_else(|| verified.clone()) {
            Some(current) => current,
            None => self.stage_nothing().await?,
        };
        self.switch(&current)?;
        // Where an apply was cut off, workers of both may answer for a moment.
        let serves = match verified.as_ref() == Some(&current) {
            _ if self.nginx.master().is_none() => false,
            true => self.nginx.serves_soon(&current.identity).await,
            false => self.nginx.serves_steadily(&current.identity).await,
        };
        if serves {
            tracing::info!(version = %current.identity.version, "took over the nginx that runs");
            return self.mark_verified(&current);
        }
        let Err(error) = self.bring_up(&current).await else { return self.mark_verified(&current) };
        // Where nothing ever worked, there is nothing to wait for.
        let Some(verified) = verified else { return Err(error) };
        let error = if verified == current {
            error
        } else {
            tracing::warn!(error = error.full(), "going back to the last that worked");
            self.switch(&verified)?;
            let Err(error) = self.bring_up(&verified).await else {
                return self.mark_verified(&verified);
            };
            error
        };
        // It worked once: somebody else may hold its port. It is tried again, and until it
        // works nothing is proven.
        tracing::error!(error = error.full(), "nginx does not serve what it served before");
        Ok(())
    }

    /// Has nginx serve what `current` links to, whether it runs or not.
    async fn bring_up(&self, current: &Generation) -> Result<(), NginxError> {
        match self.nginx.master() {
            Some(_) => self.nginx.reload(&current.identity, self.loading).await,
            None => self.nginx.start_and_prove(&current.identity).await,
        }
    }

    /// A configuration that serves nothing, for an nginx that was told nothing yet.
    async fn stage_nothing(&mut self) -> Result<Generation, NginxError> {
        let nothing = ConfigUpdate {
            config_id: String::new(),
            version: nxmesh_core::RevisionNumber::default(),
            checksum: String::new(),
            projection: Arc::new(Projection::default()),
        };
        let facts = self.nginx.facts().await?;
        self.stage_and_test(&Arc::new(nothing), &facts).await
    }

    /// Applies an update, and says what became of it.
    async fn settle(&mut self, update: &Arc<ConfigUpdate>) {
        let identity = Identity::of(update);
        let began = Instant::now();
        if identity.checksum == self.verified.checksum
            && self.nginx.serves_soon(&self.verified).await
        {
            self.report(&identity, ApplyStatus::Success, String::new());
            return;
        }
        self.report(&identity, ApplyStatus::Pending, String::new());
        let (status, message) = match self.apply(update, &identity).await {
            Ok(()) => (ApplyStatus::Success, String::new()),
            Err(Setback { status, error }) => (status, error.full()),
        };
        tracing::info!(version = %identity.version, ?status, message, took_ms = began.elapsed().as_millis(), "configuration settled");
        self.report(&identity, status, message);
    }

    async fn apply(
        &mut self,
        update: &Arc<ConfigUpdate>,
        identity: &Identity,
    ) -> Result<(), Setback> {
        let failed = |error| Setback { status: ApplyStatus::Failed, error };
        let facts = self.nginx.facts().await.map_err(failed)?;
        self.report(identity, ApplyStatus::Validating, String::new());
        let staged = self.stage_and_test(update, &facts).await.map_err(failed)?;
        let before = Generation::behind(&self.nginx.dir().current());
        self.report(identity, ApplyStatus::Applying, String::new());
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
    async fn stage_and_test(
        &mut self,
        update: &Arc<ConfigUpdate>,
        facts: &NginxFacts,
    ) -> Result<Generation, NginxError> {
        let (update, facts_there, nginx) = (Arc::clone(update), facts.clone(), self.nginx.clone());
        let root = self.nginx.dir().root().to_owned();
        let stage = move || {
            let rendered = render(&update, &facts_there, &nginx.place());
            let like = Generation::behind(&nginx.dir().current()).map(|it| it.folder);
            Generation::stage(nginx.dir(), Identity::of(&update), &rendered, like.as_deref())
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

    fn switch(&self, to: &Generation) -> Result<(), NginxError> {
        let link = self.nginx.dir().current();
        self.nginx.dir().point(&link, &to.folder).map_err(NginxError::io(link))
    }

    fn mark_verified(&mut self, generation: &Generation) -> Result<(), NginxError> {
        let link = self.nginx.dir().verified();
        self.nginx.dir().point(&link, &generation.folder).map_err(NginxError::io(link))?;
        self.verified = generation.identity.clone();
        self.running.send_modify(|it| it.verified = generation.identity.clone());
        if let Err(error) = prune(self.nginx.dir()) {
            tracing::warn!(%error, "cannot remove old configurations");
        }
        Ok(())
    }

    /// Starts nginx again if it is gone, and keeps its log small.
    async fn supervise(&mut self) {
        match self.nginx.master() {
            Some(_) => self.restart_pause = TICK,
            None if !self.stopped && Instant::now() >= self.next_restart => self.revive().await,
            None => {}
        }
        self.rotate_log();
    }

    async fn revive(&mut self) {
        tracing::warn!("nginx is gone: starting it again");
        if let Err(error) = self.start_current().await {
            self.next_restart = Instant::now() + self.restart_pause;
            self.restart_pause = (self.restart_pause * 2).min(MAX_RESTART_PAUSE);
            tracing::error!(error = error.full(), "nginx does not start");
        }
    }

    async fn start_current(&mut self) -> Result<(), NginxError> {
        let current = self.current()?;
        self.nginx.start_and_prove(&current.identity).await?;
        self.mark_verified(&current)
    }

    fn rotate_log(&self) {
        let log = self.nginx.dir().error_log();
        let large = std::fs::metadata(&log).is_ok_and(|it| it.len() > MAX_LOG_BYTES);
        let Some(master) = self.nginx.master().filter(|_| large) else { return };
        match std::fs::rename(&log, log.with_extension("log.1")) {
            Ok(()) => {
                master.signal(Signal::USR1);
            }
            Err(error) => tracing::warn!(%error, "cannot set the log aside"),
        }
    }

    fn report(&self, identity: &Identity, status: ApplyStatus, error_message: String) {
        let report = Report { identity: identity.clone(), status, error_message };
        // When nobody takes reports, the server asks again: what is proven is in each heartbeat.
        let _ = self.reports.try_send(report);
    }
}

/// Works with files where that holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

struct Setback {
    status: ApplyStatus,
    error: NginxError,
}
