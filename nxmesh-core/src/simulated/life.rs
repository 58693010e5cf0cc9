//! How a simulated agent spends its time.

use std::{collections::BTreeMap, future, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval},
};

use super::{Conduct, Confirmed, SimulatedState};
use crate::{
    Clock, Error, ErrorKind, Result, RevisionNumber, Secret, SystemClock,
    gateway::{
        ConfigUpdate, Quarantined, ServedKind,
        checks::Traffic,
        link::{
            AgentEvent, AgentMessage, ApplyStatus, COMMAND_RESULT, Command, ConfigStatus,
            Connector, HealthReport, NginxStatus, Registration, RegistrationAnswer, ServerMessage,
        },
    },
};

/// How long to wait before dialing again.
const PAUSE: Duration = Duration::from_millis(300);
/// What its nginx says of what it refuses.
const REFUSAL: &str = "nginx: [emerg] simulated";

/// An agent, from the inside.
pub(super) struct Life {
    connector: Arc<dyn Connector>,
    /// The token, and once it was exchanged, the credential.
    token: Secret<String>,
    confirm: Option<mpsc::Sender<Confirmed>>,
    state: watch::Sender<SimulatedState>,
    conduct: watch::Receiver<Conduct>,
    /// The content that it serves, and the revision that it came with.
    serves: (String, RevisionNumber),
    applying: Option<Applying>,
    /// The revision that it died with last.
    died_with: Option<RevisionNumber>,
    answered: Answers,
}

struct Applying {
    update: Arc<ConfigUpdate>,
    began: Instant,
}

/// What it answered, beside what its conduct says.
struct Answers {
    requests: f64,
    failed: f64,
    counted: Instant,
}

type Outgoing = mpsc::Sender<AgentMessage>;

impl Life {
    pub(super) fn new(
        connector: Arc<dyn Connector>,
        token: Secret<String>,
        confirm: Option<mpsc::Sender<Confirmed>>,
        state: watch::Sender<SimulatedState>,
        conduct: watch::Receiver<Conduct>,
    ) -> Self {
        let (serves, applying, died_with) = Default::default();
        let answered = Answers::none();
        Self { connector, token, confirm, state, conduct, serves, applying, died_with, answered }
    }

    /// Until it is dropped.
    pub(super) async fn live(mut self) {
        loop {
            // Why it was cut off does not matter here.
            let _ = self.stay().await;
            self.state.send_modify(|it| it.connected = false);
            tokio::time::sleep(PAUSE).await;
            // Whoever conducts it may be gone.
            let _ = self.conduct.wait_for(|it| !it.away).await;
        }
    }

    /// As long as a connection holds.
    async fn stay(&mut self) -> Result<()> {
        let mut link = self.connector.connect().await?;
        let began = Instant::now();
        self.applying = None;
        say(&link.outgoing, AgentMessage::Registration(self.registration())).await?;
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            let connected = self.state.borrow().connected;
            let (applied, breaks) = {
                let conduct = self.conduct.borrow();
                let applied = self.applying.as_ref().map(|it| it.began + conduct.apply_takes);
                (applied, conduct.breaks_after.map(|it| began + it))
            };
            tokio::select! {
                message = link.incoming.next() => {
                    let message = message.ok_or_else(|| cut("the stream ended"))??;
                    self.hear(message, &mut beat, &link.outgoing).await?;
                }
                _ = beat.tick(), if connected => {
                    say(&link.outgoing, self.report()).await?;
                }
                Ok(()) = self.conduct.changed(), if connected => {
                    if self.conduct.borrow_and_update().away {
                        return Err(cut("it goes away"));
                    }
                    say(&link.outgoing, self.report()).await?;
                }
                () = at(applied) => self.settle(&link.outgoing).await?,
                () = at(breaks) => return Err(cut("the connection breaks")),
            }
        }
    }

    async fn hear(
        &mut self,
        message: ServerMessage,
        beat: &mut Interval,
        outgoing: &Outgoing,
    ) -> Result<()> {
        match message {
            ServerMessage::Registered(RegistrationAnswer::Refused { reason }) => Err(cut(&reason)),
            ServerMessage::Registered(RegistrationAnswer::Accepted {
                credential,
                heartbeat_interval,
                ..
            }) => {
                *beat = tokio::time::interval(heartbeat_interval);
                self.token = credential.unwrap_or_else(|| self.token.clone());
                self.state.send_modify(|it| {
                    it.connected = true;
                    it.connections += 1;
                });
                Ok(())
            }
            ServerMessage::Config(update) => self.apply(update, outgoing).await,
            ServerMessage::Command(command) => {
                self.state.send_modify(|it| it.commands += 1);
                say(outgoing, AgentMessage::Event(done(&command))).await
            }
            ServerMessage::Heard => Ok(()),
            ServerMessage::Unreadable { .. } => Err(cut("cannot read what it was sent")),
        }
    }

    /// Begins to apply, which may take a while.
    async fn apply(&mut self, update: Arc<ConfigUpdate>, outgoing: &Outgoing) -> Result<()> {
        let (dies_with, takes) = {
            let conduct = self.conduct.borrow();
            (conduct.dies_with.map(RevisionNumber), conduct.apply_takes)
        };
        let dies = dies_with == Some(update.version) && self.died_with != dies_with;
        if dies || !takes.is_zero() {
            let status = status(&update, ApplyStatus::Applying);
            say(outgoing, AgentMessage::ConfigStatus(status)).await?;
        }
        if dies {
            self.died_with = dies_with;
            self.answered = Answers::none();
            self.state.send_modify(|it| it.deaths += 1);
            return Err(cut("it dies"));
        }
        self.applying = Some(Applying { update, began: Instant::now() });
        if takes.is_zero() { self.settle(outgoing).await } else { Ok(()) }
    }

    /// Ends the apply that is under way.
    async fn settle(&mut self, outgoing: &Outgoing) -> Result<()> {
        let Some(Applying { update, .. }) = self.applying.take() else { return Ok(()) };
        let conduct = self.conduct.borrow().clone();
        if conduct.refuses == Some(update.version.0) {
            self.state.send_modify(|it| it.refusals += 1);
            let error_message = REFUSAL.to_owned();
            let status = ConfigStatus { error_message, ..status(&update, ApplyStatus::Failed) };
            return say(outgoing, AgentMessage::ConfigStatus(status)).await;
        }
        let mut status = status(&update, ApplyStatus::Success);
        status.quarantined.extend(self.held_back(&update, &conduct));
        if !status.quarantined.is_empty() {
            status.quarantined_total = 1;
            status.checksum = update.checksum_without("simulated");
        }
        // What was answered until now was answered with what it served until now.
        self.answered.count(&conduct, self.serves.1);
        self.serves = (status.checksum.clone(), update.version);
        self.state.send_modify(|it| {
            it.version = update.version.0;
            it.holds_back = status.quarantined_total > 0;
        });
        let whole = status.quarantined_total == 0;
        if let Some(confirm) = self.confirm.as_ref().filter(|_| whole) {
            let confirmed = Confirmed { version: update.version.0, at: Instant::now() };
            confirm.send(confirmed).await.map_err(|_| cut("nobody waits for what it confirms"))?;
        }
        say(outgoing, AgentMessage::ConfigStatus(status)).await
    }

    fn held_back(&self, update: &ConfigUpdate, conduct: &Conduct) -> Option<Quarantined> {
        let id = conduct.holds_back?;
        let host = update.projection.virtual_hosts.get(&id)?;
        let (served, revision) = &self.serves;
        Some(Quarantined {
            kind: ServedKind::VirtualHost,
            id: *id.as_uuid(),
            name: host.name.to_string(),
            field: String::new(),
            error: REFUSAL.to_owned(),
            running_revision: (!served.is_empty()).then_some(*revision),
        })
    }

    fn report(&mut self) -> AgentMessage {
        let conduct = self.conduct.borrow().clone();
        let (config_checksum, config_version) = self.serves.clone();
        self.answered.count(&conduct, config_version);
        let nginx = NginxStatus { is_running: !conduct.nginx_down, ..NginxStatus::default() };
        AgentMessage::Health(HealthReport {
            nginx,
            config_checksum,
            config_version,
            traffic: Traffic {
                requests: Some(conduct.requests + self.answered.requests as u64),
                failed: conduct.responses_5xx + self.answered.failed as u64,
                ..Traffic::default()
            },
            ..HealthReport::default()
        })
    }

    fn registration(&self) -> Registration {
        let (config_checksum, config_version) = self.serves.clone();
        Registration {
            token: self.token.clone(),
            hostname: "simulated".into(),
            ip_address: "127.0.0.1".into(),
            version: "0".into(),
            capabilities: Vec::new(),
            labels: BTreeMap::new(),
            deployment_mode: Default::default(),
            config_checksum,
            config_version,
            nginx_version: String::new(),
        }
    }
}

impl Answers {
    fn none() -> Self {
        Self { requests: 0.0, failed: 0.0, counted: Instant::now() }
    }

    /// Counts those since it was last done, which were answered with this revision.
    fn count(&mut self, conduct: &Conduct, with: RevisionNumber) {
        let now = Instant::now();
        let seconds = now.duration_since(self.counted).as_secs_f64();
        self.counted = now;
        let requests = conduct.requests_per_second as f64 * seconds;
        let failing = conduct.failing.filter(|it| it.revision == with.0);
        let percent = failing.map_or(0, |it| it.percent.min(100));
        self.requests += requests;
        self.failed += requests * f64::from(percent) / 100.0;
    }
}

/// Sleeps until then; for ever, if there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => future::pending().await,
    }
}

async fn say(outgoing: &Outgoing, message: AgentMessage) -> Result<()> {
    outgoing.send(message).await.map_err(|_| cut("the stream ended"))
}

fn cut(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, why)
}

fn status(update: &ConfigUpdate, status: ApplyStatus) -> ConfigStatus {
    ConfigStatus::of(update, status, SystemClock.now())
}

fn done(command: &Command) -> AgentEvent {
    let data = [
        ("command_id", command.command_id.as_str()),
        ("success", "true"),
        ("message", "simulated"),
    ];
    AgentEvent {
        event_id: command.command_id.clone(),
        event_type: COMMAND_RESULT.to_owned(),
        timestamp: SystemClock.now(),
        data: data.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}
