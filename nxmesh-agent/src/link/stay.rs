use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::FuturesUnordered};
use nxmesh_core::{
    Clock, Error, ErrorKind, Result, Secret, Tasks,
    gateway::link::{
        AgentEvent, AgentLink, AgentMessage, ApplyStatus, COMMAND_RESULT, Command, ConfigStatus,
        Connector, HealthReport, Registration, RegistrationAnswer, ServerMessage,
    },
};
use tokio::time::Instant;

use super::{
    pulse::{Pulse, Reports},
    spool::{Batch, Spool},
    unheard::Unheard,
    waits::{Silence, Waits},
};
use crate::{
    AgentSettings, StateDir,
    gateway::{Checks, EngineHandle, Nginx, Report},
};

/// The longest wait before dialing again.
const LAST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait where nothing was reached: knocking at a closed door costs the server nothing,
/// and whoever waits longer is away longer than the network was.
const LAST_WAIT_UNREACHED: Duration = Duration::from_secs(3);
/// A connection that held so long was a good one: the next wait is a short one.
const STABLE: Duration = Duration::from_secs(10);
/// How long dialing may take: a lost packet is sent again after 1 and 3 seconds, and then so seldom
/// that it is better to dial anew.
const PATIENCE_DIALING: Duration = Duration::from_secs(5);
/// How long the answer to the registration may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many commands are carried out at a time; one more is refused.
const MAX_COMMANDS: usize = 16;

/// Keeps a connection to the control plane.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) dir: Arc<StateDir>,
    pub(crate) settings: AgentSettings,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) engine: Arc<EngineHandle>,
    pub(crate) nginx: Nginx,
    pub(crate) checks: Checks,
    pub(crate) spool: Arc<Spool>,
    pub(crate) tasks: Tasks,
}

impl Link {
    /// Dials, stays as long as it goes, and dials again, until told to stop.
    pub(crate) async fn run(self) {
        let stopping = self.tasks.stopping().clone();
        let mut reports = self.begin_reports();
        let mut waits = Waits::new(LAST_WAIT);
        let mut waits_unreached = Waits::new(LAST_WAIT_UNREACHED);
        let mut refused = false;
        loop {
            let began = Instant::now();
            let connection = self.connection(&mut reports, refused);
            let Ended { error: ended, reached } = tokio::select! {
                ended = connection => ended,
                () = stopping.cancelled() => return,
            };
            refused = ended.kind() == ErrorKind::Unauthenticated && !refused;
            tracing::warn!(reason = %ended, source = ?std::error::Error::source(&ended).map(ToString::to_string), "not connected");
            if reached {
                waits_unreached = Waits::new(LAST_WAIT_UNREACHED);
            }
            if reached && began.elapsed() > STABLE {
                waits = Waits::new(LAST_WAIT);
            }
            let pause = if reached { waits.next() } else { waits_unreached.next() };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    fn begin_reports(&self) -> Reports {
        let (pulse, reports, interval) = Pulse::new(
            Arc::clone(&self.dir),
            self.nginx.clone(),
            Arc::clone(&self.engine),
            self.checks.clone(),
            Arc::clone(&self.spool),
            Arc::clone(&self.clock),
        );
        self.tasks.spawn_vital(pulse.run(interval, self.tasks.stopping().clone()));
        reports
    }

    async fn connection(&self, reports: &mut Reports, refused: bool) -> Ended {
        let late = |_| Error::new(ErrorKind::Unavailable, "the server does not answer");
        let dialed = tokio::time::timeout(PATIENCE_DIALING, self.connector.connect()).await;
        let link = match dialed.map_err(late).flatten() {
            Ok(link) => link,
            Err(error) => return Ended { error, reached: false },
        };
        let error = match self.introduce(link, refused).await {
            Ok((link, heartbeat)) => self.stay(link, heartbeat, reports).await,
            Err(error) => error,
        };
        Ended { error, reached: true }
    }

    /// Registers. Whose credential was refused tries its token, if it has one.
    async fn introduce(&self, mut link: AgentLink, refused: bool) -> Result<(AgentLink, Duration)> {
        let late = |_| Error::new(ErrorKind::Unavailable, "the server does not answer");
        let registration = self.registration(refused).await?;
        let gone = |_| Error::new(ErrorKind::Unavailable, "the server closed the connection");
        link.outgoing.send(AgentMessage::Registration(registration)).await.map_err(gone)?;
        let answer = tokio::time::timeout(PATIENCE, link.incoming.next()).await.map_err(late)?;
        let answer = answer.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "the server closed the connection")
        })??;
        match answer {
            ServerMessage::Registered(RegistrationAnswer::Accepted {
                agent_id,
                heartbeat_interval,
                credential,
            }) => {
                // Kept before anything else is said: what follows tells the server that it is.
                if let Some(credential) = credential {
                    self.keep(&credential)?;
                }
                tracing::info!(%agent_id, "connected");
                Ok((link, heartbeat_interval))
            }
            ServerMessage::Registered(RegistrationAnswer::Refused { reason }) => Err(Error::new(
                ErrorKind::Unauthenticated,
                format!("the server refuses this agent: {reason}"),
            )),
            ServerMessage::Config(_)
            | ServerMessage::Unreadable { .. }
            | ServerMessage::Heard
            | ServerMessage::Command(_) => {
                Err(Error::new(ErrorKind::Internal, "the server did not answer the registration"))
            }
        }
    }

    async fn registration(&self, refused: bool) -> Result<Registration> {
        let unreadable = |error| {
            Error::new(ErrorKind::Unavailable, "cannot read the credential").with_source(error)
        };
        let none = || {
            Error::new(
                ErrorKind::Unauthenticated,
                "the agent has no credential yet, and no token was given",
            )
        };
        let credential = self.dir.credential().map_err(unreadable)?;
        let token = self.settings.token.clone();
        let (first, second) = if refused { (token, credential) } else { (credential, token) };
        let token = first.or(second).ok_or_else(none)?;
        let facts = self.nginx.facts().await.ok();
        let running = self.engine.running().await.verified;
        Ok(Registration {
            token,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            ip_address: self.settings.ip_address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: facts.as_ref().map(|it| it.capabilities()).unwrap_or_default(),
            labels: BTreeMap::new(),
            deployment_mode: self.settings.deployment_mode,
            config_checksum: running.checksum,
            config_version: running.version,
            nginx_version: facts.map(|it| it.version.to_string()).unwrap_or_default(),
        })
    }

    fn keep(&self, credential: &Secret<String>) -> Result<()> {
        let failed = |error| {
            Error::new(ErrorKind::Unavailable, "cannot keep the credential").with_source(error)
        };
        self.dir.keep_credential(credential).map_err(failed)
    }

    async fn stay(&self, mut link: AgentLink, heartbeat: Duration, reports: &mut Reports) -> Error {
        self.spool.connected();
        reports.every(heartbeat);
        // What is told besides goes with a report of this connection.
        let mut fresh = false;
        let mut drifts = self.engine.drift().news();
        let mut commands = FuturesUnordered::new();
        let mut silence = Silence::new(heartbeat);
        let mut unheard = Unheard::default();
        loop {
            let mut receipt = None;
            let message = tokio::select! {
                heard = link.incoming.next() => match heard {
                    Some(Ok(ServerMessage::Heard)) => {
                        silence.broken_by(ServerMessage::Heard);
                        unheard.heard(&self.spool);
                        continue;
                    }
                    Some(Ok(message)) => match self.hear(silence.broken_by(message)) {
                        Heard::Nothing => continue,
                        Heard::Refused(status) => AgentMessage::ConfigStatus(*status),
                        Heard::Do(command) if commands.len() >= MAX_COMMANDS => {
                            self.outcome(&command.command_id, Err("too many commands at once".to_owned()))
                        }
                        Heard::Do(command) => {
                            commands.push(self.carry_out(command));
                            continue;
                        }
                    },
                    Some(Err(error)) => return error,
                    None => return Error::new(ErrorKind::Unavailable, "the server closed the connection"),
                },
                changed = reports.newest.changed() => {
                    if changed.is_err() {
                        return Error::new(ErrorKind::Unavailable, "the agent is stopping");
                    }
                    fresh = true;
                    self.health(reports)
                }
                // The sender lives as long as the engine, which this shares.
                Ok(()) = drifts.changed(), if fresh => self.health(reports),
                (batch, taken) = self.spool.next(), if fresh => {
                    receipt = Some(taken);
                    match batch {
                        Batch::Report(report, at) => status(report, at),
                        Batch::Alerts(alerts) => {
                            AgentMessage::Health(HealthReport { alerts, ..self.report(reports) })
                        }
                        Batch::Drift(drift_changes) => {
                            AgentMessage::Health(HealthReport { drift_changes, ..self.report(reports) })
                        }
                    }
                }
                () = silence.too_long() => {
                    return Error::new(ErrorKind::Unavailable, "the server has been silent for three heartbeats");
                }
                Some(done) = commands.next() => done,
            };
            let reports_health = matches!(message, AgentMessage::Health(_));
            let sent = tokio::time::timeout(PATIENCE, link.outgoing.send(message)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Error::new(ErrorKind::Unavailable, "the server does not read");
            }
            if let Some(receipt) = receipt {
                self.spool.sent(receipt);
                unheard.sent(receipt);
            }
            if reports_health {
                unheard.asked(&self.spool);
            }
        }
    }

    fn hear(&self, message: ServerMessage) -> Heard {
        match message {
            ServerMessage::Config(update) => {
                self.engine.update(update);
                Heard::Nothing
            }
            ServerMessage::Unreadable { config_id, version, reason } => {
                let error_message =
                    format!("this agent does not understand the configuration: {reason}");
                let applied_at = self.clock.now();
                let status = ApplyStatus::Failed;
                Heard::Refused(Box::new(ConfigStatus {
                    config_id,
                    version,
                    status,
                    error_message,
                    applied_at,
                    checksum: String::new(),
                    quarantined: Vec::new(),
                    quarantined_total: 0,
                }))
            }
            ServerMessage::Command(command) => Heard::Do(command),
            ServerMessage::Registered(_) | ServerMessage::Heard => Heard::Nothing,
        }
    }

    async fn carry_out(&self, command: Command) -> AgentMessage {
        let Command { command_id, action } = command;
        let done = self.engine.command(action).await;
        self.outcome(&command_id, done)
    }

    fn outcome(&self, command_id: &str, done: Result<String, String>) -> AgentMessage {
        let success = done.is_ok();
        let message = done.unwrap_or_else(|message| message);
        let data = [
            ("command_id", command_id.to_owned()),
            ("success", success.to_string()),
            ("message", message),
        ];
        AgentMessage::Event(AgentEvent {
            event_id: command_id.to_owned(),
            event_type: COMMAND_RESULT.to_owned(),
            timestamp: self.clock.now(),
            data: data.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        })
    }

    fn health(&self, reports: &Reports) -> AgentMessage {
        AgentMessage::Health(self.report(reports))
    }

    /// The newest report. What nginx serves, and what drifts, is looked at now:
    /// the server takes each report for what is so when it comes.
    fn report(&self, reports: &Reports) -> HealthReport {
        let mut report = reports.newest.borrow().clone();
        let verified = self.engine.verified();
        report.config_checksum = verified.checksum;
        report.config_version = verified.version;
        report.drift = Some(self.engine.drift().report());
        report
    }
}

fn status(report: Report, at: DateTime<Utc>) -> AgentMessage {
    let Report { identity, status, error_message, checksum, quarantined, quarantined_total } =
        report;
    AgentMessage::ConfigStatus(ConfigStatus {
        config_id: identity.config_id,
        version: identity.version,
        status,
        error_message,
        applied_at: at,
        checksum,
        quarantined,
        quarantined_total,
    })
}

/// How a connection ended.
struct Ended {
    error: Error,
    /// Whether there was one at all.
    reached: bool,
}

/// What follows from something that was heard.
enum Heard {
    Nothing,
    /// A configuration this agent cannot read.
    Refused(Box<ConfigStatus>),
    Do(Command),
}
