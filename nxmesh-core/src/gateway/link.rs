//! What agents and control plane say to each other, and how they are joined.
//!
//! A transport is nothing but a pair of typed message streams: one that it hands
//! to the control plane ([`ServerLink`], by `mesh.gateway().attach(link)`), and
//! one that it hands to the agent ([`AgentLink`], by [`Connector::connect`]).

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    Result, RevisionNumber, Secret,
    gateway::{
        AgentId, ConfigUpdate, DeploymentMode, Labels, Quarantined,
        checks::{ServerChecks, Traffic},
        drift::{DriftChange, DriftReport},
    },
};

/// How many messages may wait in each direction before the sender waits too.
pub const LINK_CAPACITY: usize = 64;

/// Messages as they come in; an error ends the stream.
pub type Incoming<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// The control plane's end of a connection.
pub struct ServerLink {
    /// From where the agent speaks, for logs and rate limits: `10.0.1.10:51234`, `in-process`.
    pub peer: String,
    /// What the agent says.
    pub incoming: Incoming<AgentMessage>,
    /// What the agent is told; an error is the reason for the end, and the last item.
    pub outgoing: mpsc::Sender<Result<ServerMessage>>,
}

/// The agent's end of a connection.
pub struct AgentLink {
    /// What the control plane says.
    pub incoming: Incoming<ServerMessage>,
    /// What the control plane is told.
    pub outgoing: mpsc::Sender<AgentMessage>,
}

impl fmt::Debug for ServerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLink").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentLink").finish_non_exhaustive()
    }
}

/// Whom a transport hands the connections of agents to: the control plane.
#[async_trait]
pub trait LinkHost: fmt::Debug + Send + Sync + 'static {
    /// Takes over a connection, until it ends.
    fn attach(&self, link: ServerLink);

    /// Takes a report that came outside a stream, from whoever holds the credential.
    async fn report_health(&self, credential: &str, report: &HealthReport) -> Result<()>;
}

/// The agent's side of a transport.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Dials the control plane once. Whether to try again is the caller's business.
    async fn connect(&self) -> Result<AgentLink>;
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentMessage {
    /// Who it is. The first message, and only that.
    Registration(Registration),
    /// How it is doing; also the heartbeat.
    Health(HealthReport),
    /// What became of a configuration.
    ConfigStatus(ConfigStatus),
    /// Something happened, or a command was carried out.
    Event(AgentEvent),
}

/// What an agent is told.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerMessage {
    /// The answer to its registration.
    Registered(RegistrationAnswer),
    /// What it should serve.
    Config(Arc<ConfigUpdate>),
    /// What it should serve, but it does not understand that: to be answered as failed.
    Unreadable {
        /// See [`ConfigUpdate::config_id`].
        config_id: String,
        /// See [`ConfigUpdate::version`].
        version: RevisionNumber,
        /// What is not understood.
        reason: String,
    },
    /// Something to do now.
    Command(Command),
    /// Its health report was heard: whoever hears nothing for three heartbeats is not connected.
    Heard,
}

/// An agent introduces itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// A registration token the first time, the credential afterwards.
    pub token: Secret<String>,
    /// The name of the host.
    pub hostname: String,
    /// The address of the host.
    pub ip_address: String,
    /// The version of the agent.
    pub version: String,
    /// What agent and nginx can do: `http2`, `http3`, `stub_status`.
    pub capabilities: Vec<String>,
    /// Labels that the agent suggests; those of the registration token win.
    pub labels: Labels,
    /// How the agent is deployed.
    pub deployment_mode: DeploymentMode,
    /// The content that nginx is known to serve; empty when there is none.
    pub config_checksum: String,
    /// The revision of that content.
    pub config_version: RevisionNumber,
    /// The version of nginx: `1.22.1`.
    pub nginx_version: String,
}

impl PartialEq for Registration {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}") && self.token.expose() == other.token.expose()
    }
}

/// What became of a registration.
#[derive(Debug, Clone)]
pub enum RegistrationAnswer {
    /// Welcome.
    Accepted {
        /// Which agent this is.
        agent_id: AgentId,
        /// How often to send a [`HealthReport`].
        heartbeat_interval: std::time::Duration,
        /// What to register with from now on; `None` when that has not changed.
        credential: Option<Secret<String>>,
    },
    /// Go away.
    Refused {
        /// Why.
        reason: String,
    },
}

impl PartialEq for RegistrationAnswer {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Accepted { agent_id, heartbeat_interval, credential },
                Self::Accepted { agent_id: id, heartbeat_interval: interval, credential: other },
            ) => {
                let expose =
                    |it: &Option<Secret<String>>| it.as_ref().map(|it| it.expose().clone());
                agent_id == id
                    && heartbeat_interval == interval
                    && expose(credential) == expose(other)
            }
            (Self::Refused { reason }, Self::Refused { reason: other }) => reason == other,
            _ => false,
        }
    }
}

/// How an agent and its nginx are doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HealthReport {
    /// nginx, as far as it is known.
    pub nginx: NginxStatus,
    /// The machine.
    pub system: SystemMetrics,
    /// The content that nginx is proven to serve; empty when there is none.
    pub config_checksum: String,
    /// The revision of that content.
    pub config_version: RevisionNumber,
    /// What is wrong since the report before; the first [`MAX_ALERTS`] are taken.
    pub alerts: Vec<Alert>,
    /// What differs from what the agent wrote; `None` from those that do not tell.
    pub drift: Option<DriftReport>,
    /// What became of that since the report before; the first [`MAX_DRIFT_CHANGES`] are taken.
    pub drift_changes: Vec<DriftChange>,
    /// Old workers of nginx that finish what they began before a reload.
    pub draining_workers: u32,
    /// What active health checks found.
    pub checks: ServerChecks,
    /// What nginx answered since the agent was started.
    pub traffic: Traffic,
    /// How many messages were dropped since then, because the agent was away for too long.
    pub messages_dropped: u64,
}

/// How many changes of drift of one report are taken.
pub const MAX_DRIFT_CHANGES: usize = 8;

/// How many alerts of one report are taken.
pub const MAX_ALERTS: usize = 16;

/// Something that people should look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Unique.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for people.
    pub message: String,
    /// Which figure is out of bounds, if one is: `cpu_percent`.
    pub metric: Option<String>,
    /// Where that figure stands.
    pub value: Option<f64>,
    /// When.
    pub timestamp: DateTime<Utc>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// It may become bad.
    Warning,
    /// It is bad.
    Error,
    /// It is as bad as it gets.
    Critical,
}

/// nginx at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NginxStatus {
    /// Whether the master process lives.
    pub is_running: bool,
    /// The process id of the master.
    pub pid: u32,
    /// How long the master has been running.
    pub uptime_seconds: u64,
    /// Connections that are open now.
    pub active_connections: u32,
    /// Requests since the master was started.
    pub total_requests: u64,
    /// Requests a second since the last report.
    pub requests_per_second: f32,
}

/// The machine at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SystemMetrics {
    /// Load of all processors together, 0 to 100.
    pub cpu_percent: f32,
    /// Memory in use.
    pub memory_used_bytes: u64,
    /// Memory there is.
    pub memory_total_bytes: u64,
    /// Disk in use, where the state folder is.
    pub disk_used_bytes: u64,
    /// Disk there is, where the state folder is.
    pub disk_total_bytes: u64,
    /// Load average over a minute.
    pub load_average_1m: f32,
}

/// What became of a configuration, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigStatus {
    /// Of which update.
    pub config_id: String,
    /// Of which revision.
    pub version: RevisionNumber,
    /// How far it has come.
    pub status: ApplyStatus,
    /// nginx's own words, when it did not work.
    pub error_message: String,
    /// When this was so.
    pub applied_at: DateTime<Utc>,
    /// Names the content that is served with success. Where a part is held back it is not the
    /// update's: that, `-`, and what is held back. Empty from an agent that holds nothing back.
    pub checksum: String,
    /// What is held back; the first [`MAX_QUARANTINED`](crate::gateway::MAX_QUARANTINED).
    pub quarantined: Vec<Quarantined>,
    /// How many objects are held back in all.
    pub quarantined_total: u32,
}

impl ConfigStatus {
    /// An update came this far, with nothing held back.
    #[must_use]
    pub fn of(update: &ConfigUpdate, status: ApplyStatus, at: DateTime<Utc>) -> Self {
        Self {
            config_id: update.config_id.clone(),
            version: update.version,
            status,
            error_message: String::new(),
            applied_at: at,
            checksum: update.checksum.clone(),
            quarantined: Vec::new(),
            quarantined_total: 0,
        }
    }
}

/// The steps of an apply. The last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ApplyStatus {
    /// Received.
    Pending,
    /// nginx tests the staged files.
    Validating,
    /// Switched; nginx reloads.
    Applying,
    /// New workers serve it, proven.
    Success,
    /// Refused; nothing was changed.
    Failed,
    /// Tried; the old configuration runs again.
    RolledBack,
}

/// Something an agent should do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Names the command in its answer.
    pub command_id: String,
    /// What to do.
    pub action: CommandAction,
}

/// What an agent can be told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommandAction {
    /// Reload nginx with what it has; not graceful means a restart.
    Reload {
        /// Whether running requests are finished first.
        graceful: bool,
    },
    /// Stop nginx and start it again.
    Restart {
        /// Whether running requests are cut off.
        force: bool,
    },
    /// Stop nginx.
    Stop {
        /// Whether running requests are finished first.
        graceful: bool,
        /// How long they may take.
        timeout: std::time::Duration,
    },
    /// Send a health report now.
    GetStatus,
    /// Let nginx test this text, and change nothing.
    ValidateConfig {
        /// The text of a whole `nginx.conf`.
        config_content: String,
    },
}

/// Something that happened at an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEvent {
    /// Unique.
    pub event_id: String,
    /// What sort of thing: [`COMMAND_RESULT`] answers a command.
    pub event_type: String,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// The details, by name.
    pub data: BTreeMap<String, String>,
}

/// The [`AgentEvent::event_type`] that answers a [`Command`]: `command_id`,
/// `success` (`true` or `false`) and `message` are in its data.
pub const COMMAND_RESULT: &str = "command.result";
