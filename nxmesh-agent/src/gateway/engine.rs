//! The one who has nginx in hand: applies, supervises, carries out commands.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use nxmesh_core::{
    Clock, Tasks,
    gateway::{ConfigUpdate, Projection, link::CommandAction},
};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    NginxError, ReloadBudget,
    apply::blocking,
    drift::Drift,
    error_log::MAX_LOG_BYTES,
    generation::{Generation, Identity},
    ledger::Ledger,
    look::Depth,
    nginx::Nginx,
    probe::{self, Counters},
    quarantine::Content,
    wanted::Rotation,
    workers::Draining,
};
use crate::{Mode, OnExit, StateDir, link::Spool};

/// How often it is looked whether nginx lives.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// How long to wait between two tries to start an nginx that does not start.
pub(super) const MAX_RESTART_PAUSE: Duration = Duration::from_secs(30);
const MAX_WAITING: usize = 64;

/// What nginx is proven to serve, and whether it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) verified: Identity,
    /// Where that is, if this agent proved it.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) pid: Option<i32>,
    pub(crate) uptime_seconds: u64,
    pub(crate) counters: Option<Counters>,
    pub(crate) draining_workers: usize,
    /// Somebody else starts and stops it.
    pub(crate) attached: bool,
}

/// How others reach the engine.
#[derive(Debug)]
pub(crate) struct EngineHandle {
    updates: watch::Sender<Option<Arc<ConfigUpdate>>>,
    rotation: watch::Sender<Arc<Rotation>>,
    commands: mpsc::Sender<(CommandAction, oneshot::Sender<Result<String, String>>)>,
    running: watch::Receiver<Running>,
    drift: Arc<Ledger>,
    nginx: Nginx,
}

/// What the engine is told before it begins.
#[derive(Debug, Clone)]
pub(crate) struct EngineSettings {
    pub(crate) mode: Mode,
    pub(crate) on_exit: OnExit,
    pub(crate) reloads: ReloadBudget,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where it tells what it did.
    pub(crate) spool: Arc<Spool>,
}

/// Owns nginx.
pub(crate) struct Engine {
    pub(super) nginx: Nginx,
    pub(super) loading: Duration,
    /// Somebody told it to stop nginx: it is not started again by itself.
    pub(super) stopped: bool,
    pub(super) verified: Identity,
    /// Where it is, as long as that could not be kept.
    pub(super) unkept: Option<PathBuf>,
    /// What is proven to be served, with its name, when it is at hand.
    pub(super) good: Option<(Identity, Content)>,
    /// What is out of rotation, as it was last heard.
    pub(super) rotation: Arc<Rotation>,
    pub(super) spool: Arc<Spool>,
    /// When to try again what is out of rotation, and how long to wait after that.
    pub(super) turn_again: Option<Instant>,
    pub(super) turn_pause: Duration,
    pub(super) running: watch::Sender<Running>,
    /// When what is held back is tried again.
    pub(super) next_try: Option<Instant>,
    pub(super) restart_pause: Duration,
    pub(super) next_restart: Instant,
    pub(super) drift: Drift,
    pub(super) budget: ReloadBudget,
    pub(super) old_workers: Draining,
    pub(super) draining: usize,
    pub(super) mode: Mode,
    /// Whoever starts nginx has not, or what it was started with is not proven yet.
    pub(super) away: bool,
    /// A socket on which nobody listened when it was last looked.
    pub(super) dead_socket: Option<u64>,
}

/// What others ask of the engine.
struct Asked {
    updates: watch::Receiver<Option<Arc<ConfigUpdate>>>,
    rotation: watch::Receiver<Arc<Rotation>>,
    commands: mpsc::Receiver<(CommandAction, oneshot::Sender<Result<String, String>>)>,
}

impl Running {
    /// Where that is kept which nginx is proven to serve, as far as that is known.
    pub(super) fn kept_at(&self, dir: &StateDir) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| dir.verified())
    }
}

impl EngineHandle {
    /// Hands over what should be served; of several, the newest only is looked at.
    pub(crate) fn update(&self, update: Arc<ConfigUpdate>) {
        self.updates.send_replace(Some(update));
    }

    /// Says which servers should get no requests; of several, the newest only is looked at.
    pub(crate) fn rotate(&self, out: Rotation) {
        self.rotation.send_if_modified(|it| {
            let differs = **it != out;
            *it = Arc::new(out);
            differs
        });
    }

    /// Which servers get no requests: after a restart, those of before.
    pub(crate) fn rotation(&self) -> Arc<Rotation> {
        Arc::clone(&self.rotation.borrow())
    }

    /// What nginx is proven to serve, as that changes.
    pub(crate) fn served(&self) -> watch::Receiver<Running> {
        self.running.clone()
    }

    /// What nginx is proven to serve now.
    pub(crate) fn verified(&self) -> Identity {
        self.running.borrow().verified.clone()
    }

    /// What that contains, by the ids of who asked for it: where something is held back, as it is
    /// served. `None` when it is not known.
    pub(crate) async fn served_content(&self) -> Option<Projection> {
        let kept = self.running.borrow().kept_at(self.nginx.dir());
        let read = move || Ok(Generation::behind(&kept).and_then(|it| it.content()));
        blocking(read).await.ok().flatten().map(|it| it.served())
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
        let known = self.running.borrow().clone();
        let Some(master) = self.nginx.master() else { return known };
        let counters = probe::counters(&self.nginx.dir().status_socket()).await;
        if counters.is_ok() {
            self.nginx.note_asked();
        }
        let counters = counters.ok().flatten();
        Running {
            pid: Some(master.pid),
            uptime_seconds: master.uptime_seconds(),
            counters,
            ..known
        }
    }

    /// What is to be told of drift.
    pub(crate) fn drift(&self) -> &Ledger {
        &self.drift
    }
}

impl Engine {
    /// Takes over the nginx that runs, or starts it with what it served last.
    pub(crate) async fn begin(
        nginx: Nginx,
        tasks: &Tasks,
        settings: EngineSettings,
    ) -> Result<EngineHandle, NginxError> {
        let EngineSettings { mode, on_exit, reloads: budget, clock, spool } = settings;
        let attached = mode == Mode::Attached;
        let mut engine = Self {
            nginx: nginx.clone(),
            loading: Duration::ZERO,
            stopped: false,
            verified: Identity::default(),
            unkept: None,
            good: None,
            rotation: Arc::default(),
            spool: Arc::clone(&spool),
            turn_again: None,
            turn_pause: TICK,
            running: watch::Sender::new(Running { attached, ..Running::default() }),
            next_try: None,
            restart_pause: TICK,
            next_restart: Instant::now(),
            drift: Drift::new(nginx.dir(), clock, spool),
            budget,
            old_workers: Draining::default(),
            draining: 0,
            mode,
            away: false,
            dead_socket: None,
        };
        engine.recover().await?;
        engine.remember_what_is_held_back().await;
        engine.drift.doubt();
        let (updates, new_updates) = watch::channel(None);
        let (rotation, new_rotations) = watch::channel(Arc::clone(&engine.rotation));
        let (commands, new_commands) = mpsc::channel(MAX_WAITING);
        let running = engine.running.subscribe();
        let drift = engine.drift.ledger();
        let handle = EngineHandle { updates, rotation, commands, running, drift, nginx };
        let asked = Asked { updates: new_updates, rotation: new_rotations, commands: new_commands };
        tasks.spawn_vital(engine.run(asked, tasks.clone(), on_exit));
        Ok(handle)
    }

    async fn run(mut self, asked: Asked, tasks: Tasks, on_exit: OnExit) {
        let Asked { mut updates, mut rotation, mut commands } = asked;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // What changes before nginx may be reloaded again is folded.
            let free = self.free_at().into();
            tokio::select! {
                () = tasks.stopping().cancelled() => break,
                changed = from(free, updates.changed()) => {
                    if changed.is_err() {
                        break;
                    }
                    // It was waited for no longer than until it had to be looked at again.
                    if !self.may_reload() {
                        updates.mark_changed();
                        continue;
                    }
                    let update = updates.borrow_and_update().clone();
                    if let Some(update) = update {
                        self.settle(update).await;
                    }
                }
                Ok(()) = from(free, rotation.changed()) => {
                    if !self.may_reload() {
                        rotation.mark_changed();
                        continue;
                    }
                    let rotation = Arc::clone(&rotation.borrow_and_update());
                    self.turn(rotation).await;
                }
                Some((action, answer)) = commands.recv() => {
                    let done = self.carry_out(action).await.map_err(|error| error.full());
                    // Whoever asked may be gone.
                    let _ = answer.send(done);
                }
                _ = tick.tick() => self.supervise().await,
            }
        }
        if on_exit == OnExit::Stop && !self.is_attached() {
            let stopped = self.stop(Signal::QUIT, Duration::from_secs(5)).await;
            tracing::info!(?stopped, "nginx stopped with the agent");
        }
    }

    /// Starts nginx again if it is gone, and keeps its log small.
    async fn supervise(&mut self) {
        self.tend_workers();
        // It was told when it failed the first time.
        let _ = self.keep_proof();
        self.release().await;
        self.watch().await;
        match self.nginx.master() {
            Some(_) if self.is_attached() => self.welcome().await,
            Some(_) => self.restart_pause = TICK,
            None if self.is_attached() => self.miss(),
            None if !self.stopped && Instant::now() >= self.next_restart => self.revive().await,
            None => {}
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|it| Instant::now() >= it);
        if !self.stopped && is_due(self.next_try) && self.may_reload() {
            self.next_try = None;
            self.try_again().await;
        }
        if is_due(self.turn_again) && self.may_reload() {
            self.turn(Arc::clone(&self.rotation)).await;
        }
        self.rotate_log();
    }

    async fn revive(&mut self) {
        tracing::warn!("nginx is gone: starting it again");
        self.note_stopped().await;
        // It is not to load what somebody changed.
        self.look_and_mend(Depth::Stamps).await;
        if self.nginx.master().is_some() {
            return;
        }
        if let Err(error) = self.start_current().await {
            self.pause_restarts();
            tracing::error!(error = error.full(), "nginx does not start");
            // Somebody may hold a port of one virtual host: the others can be served.
            if matches!(error, NginxError::Refused(_)) {
                self.try_again().await;
            }
        }
    }

    pub(super) fn pause_restarts(&mut self) {
        self.next_restart = Instant::now() + self.restart_pause;
        self.restart_pause = (self.restart_pause * 2).min(MAX_RESTART_PAUSE);
    }

    async fn start_current(&mut self) -> Result<(), NginxError> {
        let current = self.current()?;
        self.nginx.start_and_prove(&current.identity).await?;
        self.mark_verified(&current);
        Ok(())
    }

    fn rotate_log(&self) {
        let log = self.nginx.dir().error_log();
        let large = std::fs::metadata(&log).is_ok_and(|it| it.len() > MAX_LOG_BYTES);
        let Some(master) = self.nginx.master().filter(|_| large) else { return };
        let set_aside = std::fs::rename(&log, log.with_extension("log.1"));
        match set_aside.and_then(|()| self.nginx.dir().begin_error_log()) {
            Ok(()) => {
                master.signal(Signal::USR1);
            }
            Err(error) => tracing::warn!(%error, "cannot set the log aside"),
        }
    }
}

/// Waits for something, and only from then on.
async fn from<T>(then: tokio::time::Instant, what: impl Future<Output = T>) -> T {
    tokio::time::sleep_until(then).await;
    what.await
}
