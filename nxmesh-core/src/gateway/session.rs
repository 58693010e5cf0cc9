//! One agent's connection, from registration to its end.

pub(crate) mod admission;
mod silence;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    Error, ErrorKind, Result, Secret, TokenHash,
    clock::new_id,
    events::NewEvent,
    gateway::{
        AgentId, AgentState, AgentStatus, ConfigState, MAX_QUARANTINED, SessionId,
        context::Context,
        convergence::{
            Convergence, Next,
            lag::{Lag, Tell},
        },
        drift::{DriftChange, DriftRecord},
        fleet::{Order, Outcome, Progress, Seat},
        link::{
            AgentEvent, AgentMessage, COMMAND_RESULT, Command, HealthReport, Incoming,
            MAX_DRIFT_CHANGES, Registration, RegistrationAnswer, ServerLink, ServerMessage,
        },
        project::Published,
        reports::{agent_events::About, status},
    },
};

use self::admission::Admission;
pub(crate) use self::silence::Silence;

/// How many commands may wait for their answer; an older one is given up for a newer.
const MAX_PENDING: usize = 64;
/// How many events may wait for a store that is away.
const MAX_UNTOLD: usize = 4 * MAX_QUARANTINED;
/// How long a message may wait for an agent that does not read.
const SEND_PATIENCE: Duration = Duration::from_secs(30);

type Outgoing = mpsc::Sender<Result<ServerMessage>>;

/// Serves one connection until it ends.
pub(crate) async fn run(context: Context, link: ServerLink) {
    let ServerLink { peer, mut incoming, outgoing } = link;
    let stopping = context.tasks.stopping().clone();
    let admitted = tokio::select! {
        admitted = admission::admit(&context, &mut incoming) => admitted,
        () = stopping.cancelled() => return,
    };
    let session = match admitted {
        Ok(admission) => Session::begin(context, admission, outgoing.clone()).await,
        Err(error) => {
            tracing::info!(%peer, %error, "agent refused");
            // A store that is away says nothing of the agent: only the stream ends.
            if error.kind() == ErrorKind::Unauthenticated {
                let answer = RegistrationAnswer::Refused { reason: error.to_string() };
                let _ = outgoing.try_send(Ok(ServerMessage::Registered(answer)));
            }
            Err(error)
        }
    };
    let reason = match session {
        Ok(session) => session.serve(&mut incoming).await,
        Err(error) => error,
    };
    // Should this not fit, the stream ends without its reason.
    let _ = outgoing.try_send(Err(reason));
}

/// Takes a report that came outside a stream.
pub(crate) async fn report_health(
    context: &Context,
    credential: &str,
    report: &HealthReport,
) -> Result<()> {
    let (agent, _) = admission::authenticate(context, credential).await?;
    let mut status = agent.status;
    let now = context.clock.now();
    status::note_health(&mut status, report, now);
    // One that never connected has nothing to report of.
    let Some(session) = agent.session else { return Ok(()) };
    let events = match report.alerts.is_empty() {
        true => Vec::new(),
        false => {
            let published = context.snapshots.get(agent.spec.workspace_id).await?;
            About::of(&agent.spec, &published.snapshot).alerts(&report.alerts, now)
        }
    };
    // Whoever took over meanwhile knows better.
    let id = agent.spec.id;
    context.store.record_agent_status(id, session, &status, events).await.map(|_| ())
}

struct Session {
    context: Context,
    agent: AgentId,
    about: About,
    seat: Seat,
    outgoing: Outgoing,
    published: watch::Receiver<Arc<Published>>,
    convergence: Convergence,
    lag: Lag,
    status: AgentStatus,
    id: SessionId,
    /// Whether what is known of the agent is written down.
    recorded: bool,
    /// The last drift it told of, as far as it was told here.
    drift: Option<DriftRecord>,
    /// What became of it since, as long as the store is away.
    drift_changes: Vec<DriftChange>,
    /// What is to be told with what is written down next.
    untold: Vec<NewEvent>,
    /// What the end of the connection is called, once it has one.
    ending: &'static str,
    unconfirmed_secret: Option<TokenHash>,
    pending: HashMap<String, oneshot::Sender<Outcome>>,
    last_heard: Instant,
}

impl Session {
    async fn begin(context: Context, admission: Admission, outgoing: Outgoing) -> Result<Self> {
        let Admission { agent, registration, credential, secret } = admission;
        let id = agent.spec.id;
        // Subscribed before anything is answered: no later change can be missed.
        let published = context.snapshots.subscribe(agent.spec.workspace_id).await?;
        // Its token may have been made at another server just now.
        if !published.borrow().snapshot.agents().contains_key(&id) {
            context.snapshots.refresh(agent.spec.workspace_id).await?;
        }
        let seat = context.fleet.enter(id);
        let last_apply = agent.status.last_apply.as_ref().map(|it| it.status);
        let convergence = Convergence::new(
            registration.config_checksum.clone(),
            registration.config_version,
            last_apply,
        );
        let about = About::of(&agent.spec, &published.borrow().snapshot);
        let lag = Lag::new(agent.status.delivered.told, Instant::now());
        let mut session = Self {
            agent: id,
            about,
            seat,
            outgoing,
            published,
            convergence,
            lag,
            status: agent.status,
            id: new_id(context.clock.as_ref()),
            recorded: true,
            drift: None,
            drift_changes: Vec::new(),
            untold: Vec::new(),
            ending: "connection_closed",
            unconfirmed_secret: Some(secret),
            pending: HashMap::new(),
            last_heard: Instant::now(),
            context,
        };
        session.introduce(registration, credential).await?;
        Ok(session)
    }

    async fn introduce(
        &mut self,
        registration: Registration,
        credential: Option<Secret<String>>,
    ) -> Result<()> {
        let now = self.context.clock.now();
        let held = self.status.quarantined.clone();
        status::note_registration(&mut self.status, registration, now);
        let mut told = vec![self.about.connected(&self.status, now)];
        told.extend(self.about.quarantined(&held, &self.status.quarantined, now));
        let held = self.context.store.open_agent_session(self.agent, self.id, &self.status, told);
        if !held.await? {
            return Err(deleted());
        }
        let heartbeat_interval = self.context.heartbeat_interval;
        let answer =
            RegistrationAnswer::Accepted { agent_id: self.agent, heartbeat_interval, credential };
        self.send(ServerMessage::Registered(answer)).await?;
        tracing::info!(agent_id = %self.agent, hostname = self.status.hostname, "agent connected");
        self.want()
    }

    async fn serve(mut self, incoming: &mut Incoming<AgentMessage>) -> Error {
        let reason = loop {
            if self.look()
                && let Err(error) = self.record().await
            {
                break error;
            }
            self.seat.note(self.progress());
            if let Err(error) = self.step(incoming).await {
                break error;
            }
        };
        tracing::info!(agent_id = %self.agent, reason = %reason, "agent disconnected");
        if self.seat.is_ours() {
            self.status.connected = false;
            self.status.delivered.next_attempt_at = None;
            self.tell([self.about.disconnected(self.ending, self.context.clock.now())]);
            // Whoever took over meanwhile is not disturbed by this.
            let _ = self.record().await;
        }
        reason
    }

    fn progress(&self) -> Progress {
        let state = self.status.state(self.context.alive_since());
        Progress {
            degraded: state == AgentState::Degraded,
            behind: self.convergence.behind(),
            behind_since: self.lag.since(),
            holds_back: self.status.quarantined_total > 0,
            drifted: self.status.drift.as_ref().is_some_and(|it| it.total > 0),
            unhealthy_servers: self.status.checks.unhealthy(),
        }
    }

    /// Looks whether the agent serves what it should. Whether there is something to tell of it.
    fn look(&mut self) -> bool {
        let told = self.lag.look(self.convergence.behind().is_some(), Instant::now());
        let behind_since = self.status.delivered.behind_since;
        self.note_delivered();
        let Some(told) = told else { return false };
        let now = self.context.clock.now();
        let event = match told {
            Tell::Lagging => {
                let published = Arc::clone(&self.published.borrow());
                let desired = published.update_for(self.agent);
                let desired = desired.map(|it| ConfigState::of(&it, now));
                self.about.lagging(&self.status.convergence(desired), now)
            }
            Tell::Converged(here) => {
                let in_all = behind_since.and_then(|it| (now - it).to_std().ok());
                let after = here.max(in_all.unwrap_or_default());
                self.about.converged(self.status.serving.as_ref(), after, now)
            }
        };
        self.tell([event]);
        true
    }

    /// Brings what is to be written down about deliveries up to date.
    fn note_delivered(&mut self) {
        let (now, instant) = (self.context.clock.now(), Instant::now());
        let delivered = &mut self.status.delivered;
        match self.lag.since() {
            Some(_) => {
                delivered.behind_since.get_or_insert(now);
            }
            None => delivered.behind_since = None,
        }
        delivered.told = self.lag.told();
        delivered.attempts = self.convergence.failures();
        let wait = self.convergence.not_before().map(|it| it.saturating_duration_since(instant));
        delivered.next_attempt_at = wait.map(|it| now + it);
    }

    async fn step(&mut self, incoming: &mut Incoming<AgentMessage>) -> Result<()> {
        let due = match self.convergence.next(Instant::now()) {
            Next::Send(update) => {
                let sent = ConfigState::of(&update, self.context.clock.now());
                self.status.delivered.sent = Some(sent);
                return self.send(ServerMessage::Config(update)).await;
            }
            Next::WaitUntil(due) => Some(due),
            Next::Rest => None,
        };
        let silent = self.last_heard + self.context.heartbeat_interval * 3;
        let wake = due.into_iter().chain(self.lag.due()).fold(silent, Instant::min);
        let ended = |message: &str| Err(Error::new(ErrorKind::Unavailable, message));
        let (ending, step) = tokio::select! {
            biased;
            () = self.context.tasks.stopping().cancelled() => {
                ("server_shutdown", ended("the control plane is shutting down"))
            }
            () = self.seat.end.cancelled() => ("replaced", self.ended().await),
            message = incoming.next() => match message {
                Some(Ok(message)) => ("refused", self.hear(message).await),
                Some(Err(error)) => ("connection_lost", Err(error)),
                None => ("connection_closed", ended("the agent closed the connection")),
            },
            Some(order) = self.seat.orders.recv() => ("connection_timeout", self.order(order).await),
            changed = self.published.changed() => match changed {
                Ok(()) => ("agent_deleted", self.want()),
                Err(_) => ("agent_deleted", ended("the workspace was deleted")),
            },
            () = tokio::time::sleep_until(wake) => match Instant::now() < silent {
                true => return Ok(()),
                false => ("connection_timeout", ended("three heartbeats are missing")),
            },
        };
        if step.is_err() {
            self.ending = ending;
        }
        step
    }

    /// The reason why the seat was taken away.
    async fn ended(&self) -> Result<()> {
        Err(match self.context.store.agent(self.agent).await {
            Ok(None) => deleted(),
            Ok(Some(agent)) if !agent.status.connected => {
                Error::new(ErrorKind::Unavailable, "the agent was not heard of and counted as gone")
            }
            Ok(Some(_)) | Err(_) => {
                Error::new(ErrorKind::Conflict, "a newer connection of this agent took over")
            }
        })
    }

    /// Looks at what the agent should serve.
    fn want(&mut self) -> Result<()> {
        let published = Arc::clone(&self.published.borrow_and_update());
        let update = published.update_for(self.agent).ok_or_else(deleted)?;
        let now = self.context.clock.now();
        let held = update.drift.held_until(now).and_then(|until| (until - now).to_std().ok());
        self.convergence.hold(held.map(|it| Instant::now() + it));
        self.convergence.want(update);
        Ok(())
    }

    async fn hear(&mut self, message: AgentMessage) -> Result<()> {
        self.last_heard = Instant::now();
        self.confirm_secret().await?;
        match message {
            AgentMessage::Registration(_) => Err(Error::new(
                ErrorKind::Unauthenticated,
                "a stream has one registration, at its beginning",
            )),
            AgentMessage::Health(report) => {
                let now = self.context.clock.now();
                self.convergence.reported(&report.config_checksum, report.config_version);
                self.convergence.follows(report.drift.as_ref().map(|it| it.policy));
                let held = self.status.quarantined.clone();
                status::note_health(&mut self.status, &report, now);
                self.tell(self.about.quarantined(&held, &self.status.quarantined, now));
                self.tell(self.about.alerts(&report.alerts, now));
                self.look();
                self.note_drift(report).await?;
                // What the agent need not tell again is written down.
                self.record().await?;
                self.send(ServerMessage::Heard).await
            }
            AgentMessage::ConfigStatus(report) => {
                let (now, took) = (self.context.clock.now(), Instant::now());
                let took = self.convergence.under_way(&report.config_id, took);
                if let Some(update) = self.convergence.known(&report.config_id) {
                    status::note_progress(&mut self.status, &report, update, now);
                }
                self.convergence.settled(&report, Instant::now(), rand::random());
                let verified = self.convergence.verified();
                let before = self.status.clone();
                if !status::note_apply(&mut self.status, &report, verified, now) {
                    return Ok(());
                }
                // What is held back is tried again and again: only what changed is told.
                if !status::is_repeated(&before, &self.status) {
                    self.tell([self.about.applied(&report, took, now)]);
                }
                let (before, after) = (&before.quarantined, &self.status.quarantined);
                self.tell(self.about.quarantined(before, after, now));
                self.look();
                self.record().await
            }
            AgentMessage::Event(event) => {
                self.answered(&event);
                Ok(())
            }
        }
    }

    /// Keeps what became of drift. Should the store be away, the events tell of it all the same.
    async fn note_drift(&mut self, report: HealthReport) -> Result<()> {
        let policy = report.drift.unwrap_or_default().policy;
        self.tell(self.about.drifted(&report.drift_changes, policy));
        self.drift_changes.extend(report.drift_changes.into_iter().take(MAX_DRIFT_CHANGES));
        let excess = self.drift_changes.len().saturating_sub(MAX_DRIFT_CHANGES);
        self.drift_changes.drain(..excess);
        if self.drift_changes.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.context.store);
        let mut drift = match self.drift.take() {
            None => match store.agent_drift(self.agent).await {
                Ok(known) => known,
                Err(error) => {
                    tracing::debug!(agent_id = %self.agent, %error, "cannot read the drift of an agent");
                    return Ok(());
                }
            },
            known => known,
        };
        for change in self.drift_changes.drain(..) {
            drift = DriftRecord::after(drift, change);
        }
        let Some(drift) = drift else { return Ok(()) };
        let drift = self.drift.insert(drift);
        match store.record_agent_drift(self.agent, self.id, drift).await {
            Ok(true) => Ok(()),
            Ok(false) => self.ended().await,
            Err(error) => {
                tracing::warn!(agent_id = %self.agent, %error, "cannot record the drift of an agent");
                Ok(())
            }
        }
    }

    /// The agent spoke after it was let in, so it has kept its credential: whatever
    /// else let it in before does no longer. Should the store be away, that waits until the
    /// agent speaks again.
    async fn confirm_secret(&mut self) -> Result<()> {
        let Some(secret) = self.unconfirmed_secret else { return Ok(()) };
        match self.context.store.keep_only_agent_secret(self.agent, &secret).await {
            Ok(true) => self.unconfirmed_secret = None,
            Ok(false) => {
                return Err(Error::new(
                    ErrorKind::Unauthenticated,
                    "the credential was replaced by a newer one",
                ));
            }
            Err(error) => {
                tracing::debug!(agent_id = %self.agent, %error, "cannot confirm a credential")
            }
        }
        Ok(())
    }

    async fn order(&mut self, order: Order) -> Result<()> {
        let command_id = new_id::<Command>(self.context.clock.as_ref()).to_string();
        self.pending.retain(|_, waiting| !waiting.is_closed());
        if self.pending.len() >= MAX_PENDING {
            self.pending.clear();
        }
        self.pending.insert(command_id.clone(), order.outcome);
        self.send(ServerMessage::Command(Command { command_id, action: order.action })).await
    }

    fn answered(&mut self, event: &AgentEvent) {
        if event.event_type != COMMAND_RESULT {
            return;
        }
        let text = |name: &str| event.data.get(name).cloned().unwrap_or_default();
        if let Some(waiting) = self.pending.remove(&text("command_id")) {
            let outcome = Outcome { success: text("success") == "true", message: text("message") };
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(outcome);
        }
    }

    async fn send(&self, message: ServerMessage) -> Result<()> {
        let gone = |message: &str| Error::new(ErrorKind::Unavailable, message);
        let sent = self.outgoing.send_timeout(Ok(message), SEND_PATIENCE).await;
        sent.map_err(|_| gone("the agent does not read what it is sent"))
    }

    /// Tells those who watch, with what is written down next. While the store is away the
    /// oldest are left out: there is a newer state to tell of.
    fn tell(&mut self, events: impl IntoIterator<Item = NewEvent>) {
        self.untold.extend(events);
        let excess = self.untold.len().saturating_sub(MAX_UNTOLD);
        self.untold.drain(..excess);
    }

    /// Writes down what is known. A store that is away is no reason to let the
    /// agent go: the next report writes it again.
    async fn record(&mut self) -> Result<()> {
        let store = &self.context.store;
        let events = self.untold.clone();
        let recorded = store.record_agent_status(self.agent, self.id, &self.status, events).await;
        if recorded.is_ok() {
            self.untold.clear();
        }
        let before = self.recorded;
        self.recorded = recorded.is_ok();
        match recorded {
            Ok(true) => Ok(()),
            Ok(false) => self.ended().await,
            Err(error) => {
                if before {
                    tracing::warn!(agent_id = %self.agent, %error, "cannot record the state of an agent; it will be tried with every report");
                }
                Ok(())
            }
        }
    }
}

fn deleted() -> Error {
    Error::new(ErrorKind::Unauthenticated, "the agent was deleted")
}
