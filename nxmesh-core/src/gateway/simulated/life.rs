use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use nxmesh_core::{
    Clock, Secret, SystemClock,
    gateway::{
        ConfigUpdate,
        checks::Traffic,
        link::{
            AgentEvent, AgentMessage, ApplyStatus, COMMAND_RESULT, ConfigStatus, Connector,
            HealthReport, NginxStatus, Registration, RegistrationAnswer, ServerMessage,
        },
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

/// How long to wait before dialing again.
const PAUSE: Duration = Duration::from_millis(300);

/// An agent without an nginx: confirms whatever it is sent unless its conduct is another, and does
/// whatever it is told.
#[derive(Debug)]
pub struct SimulatedAgent {
    state: watch::Receiver<SimulatedState>,
    conduct: watch::Sender<Conduct>,
    _task: JoinSet<()>,
}

/// What a simulated agent does with what it is sent, and says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conduct {
    /// The revision that it cannot serve.
    pub refuses: Option<u64>,
    /// Requests that it has answered.
    pub requests: u64,
    /// Those with a status of 500 or more.
    pub responses_5xx: u64,
    /// Whether its nginx has died.
    pub nginx_down: bool,
    /// Whether it stays away.
    pub away: bool,
}

/// How a simulated agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimulatedState {
    /// Whether a control plane has taken it.
    pub connected: bool,
    /// How often one has.
    pub connections: usize,
    /// The revision it runs.
    pub version: u64,
    /// How many commands it carried out.
    pub commands: usize,
}

/// An agent confirmed a version.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed {
    /// Which.
    pub version: u64,
    /// When.
    pub at: Instant,
}

impl SimulatedAgent {
    /// Starts one that dials again whenever it is cut off.
    #[must_use]
    pub fn start(
        connector: Arc<dyn Connector>,
        token: Secret<String>,
        confirm: Option<mpsc::Sender<Confirmed>>,
    ) -> Self {
        let (sender, state) = watch::channel(SimulatedState::default());
        let (conduct, conducts) = watch::channel(Conduct::default());
        let mut agent = Agent {
            connector,
            token,
            confirm,
            state: sender,
            conduct: conducts,
            running: Default::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                // Why it was cut off does not matter here.
                let _ = agent.stay().await;
                agent.state.send_modify(|it| it.connected = false);
                tokio::time::sleep(PAUSE).await;
                // Whoever conducts it may be gone.
                let _ = agent.conduct.wait_for(|it| !it.away).await;
            }
        });
        Self { state, conduct, _task: task }
    }

    /// Has it behave otherwise from now on, and say so at once.
    pub fn conduct(&self, change: impl FnOnce(&mut Conduct)) {
        self.conduct.send_modify(change);
    }

    /// How it is now.
    #[must_use]
    pub fn state(&self) -> SimulatedState {
        self.state.borrow().clone()
    }
}

struct Agent {
    connector: Arc<dyn Connector>,
    /// The token, and once it was exchanged, the credential.
    token: Secret<String>,
    confirm: Option<mpsc::Sender<Confirmed>>,
    state: watch::Sender<SimulatedState>,
    conduct: watch::Receiver<Conduct>,
    running: (String, nxmesh_core::RevisionNumber),
}

impl Agent {
    async fn stay(&mut self) -> Result<()> {
        let mut link = self.connector.connect().await?;
        link.outgoing.send(AgentMessage::Registration(self.registration())).await?;
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                message = link.incoming.next() => {
                    let message = message.context("the stream ended")??;
                    self.hear(message, &mut beat, &link.outgoing).await?;
                }
                _ = beat.tick(), if self.state.borrow().connected => {
                    link.outgoing.send(self.report()).await?;
                }
                Ok(()) = self.conduct.changed(), if self.state.borrow().connected => {
                    if self.conduct.borrow_and_update().away {
                        bail!("it goes away");
                    }
                    link.outgoing.send(self.report()).await?;
                }
            }
        }
    }

    fn report(&self) -> AgentMessage {
        let (config_checksum, config_version) = self.running.clone();
        let Conduct { requests, responses_5xx, nginx_down, .. } = *self.conduct.borrow();
        let nginx = NginxStatus { is_running: !nginx_down, ..NginxStatus::default() };
        AgentMessage::Health(HealthReport {
            nginx,
            config_checksum,
            config_version,
            traffic: Traffic {
                requests: Some(requests),
                failed: responses_5xx,
                ..Traffic::default()
            },
            ..HealthReport::default()
        })
    }

    async fn hear(
        &mut self,
        message: ServerMessage,
        beat: &mut tokio::time::Interval,
        outgoing: &mpsc::Sender<AgentMessage>,
    ) -> Result<()> {
        match message {
            ServerMessage::Registered(RegistrationAnswer::Refused { reason }) => bail!(reason),
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
            }
            ServerMessage::Config(update)
                if self.conduct.borrow().refuses == Some(update.version.0) =>
            {
                let status = settled(&update, ApplyStatus::Failed);
                outgoing.send(AgentMessage::ConfigStatus(status)).await?;
            }
            ServerMessage::Config(update) => {
                self.running = (update.checksum.clone(), update.version);
                self.state.send_modify(|it| it.version = update.version.0);
                if let Some(confirm) = &self.confirm {
                    let version = update.version.0;
                    confirm.send(Confirmed { version, at: Instant::now() }).await?;
                }
                let status = settled(&update, ApplyStatus::Success);
                outgoing.send(AgentMessage::ConfigStatus(status)).await?;
            }
            ServerMessage::Command(command) => {
                self.state.send_modify(|it| it.commands += 1);
                let data = [
                    ("command_id", command.command_id.as_str()),
                    ("success", "true"),
                    ("message", "simulated"),
                ];
                let event = AgentEvent {
                    event_id: command.command_id.clone(),
                    event_type: COMMAND_RESULT.to_owned(),
                    timestamp: SystemClock.now(),
                    data: data.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                };
                outgoing.send(AgentMessage::Event(event)).await?;
            }
            ServerMessage::Heard => {}
            ServerMessage::Unreadable { .. } => bail!("cannot read what it was sent"),
        }
        Ok(())
    }

    fn registration(&self) -> Registration {
        let (config_checksum, config_version) = self.running.clone();
        Registration {
            token: self.token.clone(),
            hostname: "simulated".into(),
            ip_address: "127.0.0.1".into(),
            version: "0".into(),
            capabilities: Vec::new(),
            labels: Default::default(),
            deployment_mode: Default::default(),
            config_checksum,
            config_version,
            nginx_version: String::new(),
        }
    }
}

fn settled(update: &ConfigUpdate, status: ApplyStatus) -> ConfigStatus {
    let failed = status == ApplyStatus::Failed;
    let error_message = if failed { "nginx: [emerg] simulated" } else { "" }.to_owned();
    ConfigStatus { error_message, ..ConfigStatus::of(update, status, SystemClock.now()) }
}
