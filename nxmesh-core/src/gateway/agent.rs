mod agents;
mod convergence;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ETag, FieldCode, Id, Malformed, Path, Problems, Result, RevisionNumber,
    gateway::{
        ConfigVersion, LabelSelector, Labels, Quarantined,
        checks::{ServerChecks, Traffic},
        drift::{self, AgentDrift, DriftPolicy, DriftReport, NewDriftPolicy},
        labels,
        link::{ApplyStatus, ServerLink},
    },
    tenancy::{OrganizationId, WorkspaceId},
    text::{MAX_LABEL_CHARS, check_label, text_type},
};

pub use self::{
    agents::{AgentQuery, Agents, RegistrationToken, ReloadOutcome},
    convergence::{AgentConvergence, Answered, ConfigState, Delivered, FailedApply},
};

/// The id of an [`Agent`].
pub type AgentId = Id<Agent>;

/// How long a registration token may be good for, in hours: a year.
pub const MAX_TOKEN_HOURS: u64 = 8760;

text_type! {
    /// What people call an agent: 1 to 200 characters, not blank, no control characters.
    AgentName, check_name
}

/// A host beside nginx.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agent {
    /// Never changes.
    pub id: AgentId,
    /// Where it belongs.
    pub workspace_id: WorkspaceId,
    /// What people call it.
    pub name: AgentName,
    /// The name of the host; empty before it first connected.
    pub hostname: String,
    /// The address of the host; empty before it first connected.
    pub ip_address: String,
    /// The version of the agent; empty before it first connected.
    pub version: String,
    /// The version of its nginx; empty before it first connected.
    #[serde(default)]
    pub nginx_version: String,
    /// How it is.
    pub state: AgentState,
    /// How it is deployed.
    pub deployment_mode: DeploymentMode,
    /// When it was last heard of.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// What agent and nginx can do.
    pub capabilities: Vec<String>,
    /// What virtual hosts select it by.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub labels: Labels,
    /// How agent and nginx are doing; in lists it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<AgentHealth>,
    /// What became of the last configuration.
    #[serde(default)]
    pub last_apply: Option<LastApply>,
    /// What it holds back because its nginx refuses it, the first 100; in lists it is left out.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub quarantined: Vec<Quarantined>,
    /// How many objects it holds back in all.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub quarantined_total: u32,
    /// What somebody else changed on the host, and what the agent does about that.
    #[serde(default)]
    pub drift: AgentDrift,
    /// How far it is from what it should serve.
    #[serde(default)]
    pub convergence: AgentConvergence,
    /// The revision that last changed name, labels or what it does about drift.
    #[serde(default)]
    pub revision: RevisionNumber,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When name, labels or what it does about drift were last changed.
    pub updated_at: DateTime<Utc>,
}

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AgentState {
    /// There is a token for it, but it never connected.
    Pending,
    /// Connected, and all is well.
    Online,
    /// Connected, but nginx is down, the last configuration was refused or rolled back, a part of
    /// it is held back, or somebody else changed what the agent looks after.
    Degraded,
    /// Its stream is gone, or three heartbeats are missed.
    Offline,
}

/// How an agent is deployed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeploymentMode {
    /// A container beside nginx's.
    DockerSidecar,
    /// A container in nginx's pod.
    KubernetesSidecar,
    /// A process on a host.
    #[default]
    Standalone,
}

/// Whether nginx runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NginxState {
    /// The master process lives.
    Running,
    /// It does not.
    Stopped,
}

/// How agent and nginx are doing, by the last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentHealth {
    /// Whether nginx runs.
    pub nginx_status: NginxState,
    /// How long nginx's master has been running.
    pub nginx_uptime_seconds: u64,
    /// Connections that are open now.
    pub active_connections: u32,
    /// Requests a second since the report before.
    pub requests_per_second: f32,
    /// Load of all processors together, 0 to 100.
    pub cpu_percent: f32,
    /// Memory in use, in MiB.
    pub memory_used_mb: u64,
    /// The revision that nginx is proven to serve.
    pub config_version: RevisionNumber,
    /// Old workers of nginx that finish what they began before a reload.
    #[serde(default)]
    pub draining_workers: u32,
    /// How many requests nginx took since the agent was started; null where nginx was built without
    /// its counters.
    #[serde(default)]
    pub requests: Option<u64>,
    /// How many of them were answered with a status of 500 or above.
    #[serde(default)]
    pub responses_5xx: u64,
    /// How many messages of the agent were dropped since then, because it was away for too long.
    #[serde(default)]
    pub messages_dropped: u64,
}

/// What became of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastApply {
    /// Which update.
    pub config_id: String,
    /// Of which revision.
    pub version: RevisionNumber,
    /// How it ended.
    pub status: ApplyStatus,
    /// nginx's own words, when it did not work.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_message: String,
    /// When it ended.
    pub at: DateTime<Utc>,
}

/// What callers decide about an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentSpec {
    /// See [`Agent::id`].
    pub id: AgentId,
    /// See [`Agent::workspace_id`].
    pub workspace_id: WorkspaceId,
    /// See [`Agent::name`].
    pub name: AgentName,
    /// See [`Agent::labels`].
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub labels: Labels,
    /// What it does about drift.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// See [`Agent::revision`].
    pub revision: RevisionNumber,
    /// See [`Agent::created_at`].
    pub created_at: DateTime<Utc>,
    /// See [`Agent::updated_at`].
    pub updated_at: DateTime<Utc>,
}

impl AgentSpec {
    /// Names this state of it.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag::new(self.revision)
    }
}

/// What an agent tells about itself, and what is known of its stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Whether a server holds its stream.
    pub connected: bool,
    /// See [`Agent::last_seen_at`].
    pub last_seen_at: Option<DateTime<Utc>>,
    /// See [`Agent::hostname`].
    pub hostname: String,
    /// See [`Agent::ip_address`].
    pub ip_address: String,
    /// See [`Agent::version`].
    pub version: String,
    /// See [`Agent::nginx_version`].
    pub nginx_version: String,
    /// See [`Agent::capabilities`].
    pub capabilities: Vec<String>,
    /// See [`Agent::deployment_mode`].
    pub deployment_mode: DeploymentMode,
    /// See [`Agent::health`].
    pub health: Option<AgentHealth>,
    /// See [`Agent::last_apply`].
    pub last_apply: Option<LastApply>,
    /// What its nginx is proven to serve; `None` for nothing yet.
    #[serde(default)]
    pub serving: Option<ConfigVersion>,
    /// See [`Agent::quarantined`].
    #[serde(default)]
    pub quarantined: Vec<Quarantined>,
    /// See [`Agent::quarantined_total`].
    #[serde(default)]
    pub quarantined_total: u32,
    /// What differs on its host; `None` from those that do not tell.
    #[serde(default)]
    pub drift: Option<DriftReport>,
    /// What its active health checks found.
    #[serde(default)]
    pub checks: ServerChecks,
    /// What its nginx answered since the agent was started.
    #[serde(default)]
    pub traffic: Traffic,
    /// What was delivered to it.
    #[serde(default)]
    pub delivered: Delivered,
}

impl AgentStatus {
    /// How the agent is, if those unheard of since `alive_since` count as gone.
    #[must_use]
    pub fn state(&self, alive_since: DateTime<Utc>) -> AgentState {
        let Some(seen) = self.last_seen_at else { return AgentState::Pending };
        if !self.connected || seen < alive_since {
            return AgentState::Offline;
        }
        let stopped = self.health.as_ref().is_some_and(|it| it.nginx_status == NginxState::Stopped);
        let refused =
            |it: &LastApply| matches!(it.status, ApplyStatus::Failed | ApplyStatus::RolledBack);
        let holds_back = self.quarantined_total > 0;
        let drifts = self.drift.as_ref().is_some_and(|it| it.total > 0);
        let apply_failed = self.last_apply.as_ref().is_some_and(refused);
        if stopped || holds_back || drifts || apply_failed {
            return AgentState::Degraded;
        }
        AgentState::Online
    }

    /// When it was last heard of, as long as a server holds its stream.
    #[must_use]
    pub fn heard_at(&self) -> Option<DateTime<Utc>> {
        self.last_seen_at.filter(|_| self.connected)
    }
}

/// Names a connection of an agent, on whichever server.
pub type SessionId = Id<ServerLink>;

/// An agent as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRecord {
    /// What callers decide.
    pub spec: AgentSpec,
    /// What the agent tells.
    pub status: AgentStatus,
    /// The connection that holds the agent, or did last.
    pub session: Option<SessionId>,
}

/// An agent whose connection is not heard of.
#[derive(Debug, Clone, PartialEq)]
pub struct SilentAgent {
    /// The agent, as it was found.
    pub agent: AgentRecord,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// When it was last heard of.
    pub heard_at: DateTime<Utc>,
}

impl AgentRecord {
    /// What is shown of it, if those unheard of since `alive_since` count as gone, and this is
    /// what it should serve.
    #[must_use]
    pub fn show(self, alive_since: DateTime<Utc>, desired: Option<ConfigState>) -> Agent {
        let state = self.status.state(alive_since);
        let convergence = self.status.convergence(desired);
        let AgentSpec { id, workspace_id, name, labels, drift, revision, created_at, updated_at } =
            self.spec;
        let AgentStatus {
            connected: _,
            last_seen_at,
            hostname,
            ip_address,
            version,
            nginx_version,
            capabilities,
            deployment_mode,
            health,
            last_apply,
            serving: _,
            quarantined,
            quarantined_total,
            drift: differs,
            checks: _,
            traffic: _,
            delivered: _,
        } = self.status;
        let DriftReport { policy: _, files, total } = differs.unwrap_or_default();
        Agent {
            id,
            workspace_id,
            name,
            hostname,
            ip_address,
            version,
            nginx_version,
            state,
            deployment_mode,
            last_seen_at,
            capabilities,
            labels,
            health,
            last_apply,
            quarantined,
            quarantined_total,
            drift: AgentDrift { policy: drift, files, total },
            convergence,
            revision,
            created_at,
            updated_at,
        }
    }
}

impl Agent {
    /// Names this state of its name, labels, and what it does about drift.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag::new(self.revision)
    }
}

/// Which agents of a workspace to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFilter {
    /// Only those in this state.
    pub state: Option<AgentState>,
    /// Only those whose labels match.
    pub label_selector: Option<LabelSelector>,
    /// Those unheard of since count as gone.
    pub alive_since: DateTime<Utc>,
}

impl AgentFilter {
    /// Whether this one is meant.
    #[must_use]
    pub fn matches(&self, agent: &AgentRecord) -> bool {
        self.state.is_none_or(|state| agent.status.state(self.alive_since) == state)
            && self.label_selector.as_ref().is_none_or(|it| it.matches(&agent.spec.labels))
    }
}

/// What a caller writes of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAgent {
    /// See [`Agent::name`].
    #[cfg_attr(feature = "openapi", schema(value_type = AgentName))]
    pub name: String,
    /// See [`Agent::labels`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub labels: Labels,
    /// What it does when somebody else changes what it looks after.
    #[serde(default)]
    pub drift: NewDriftPolicy,
}

impl NewAgent {
    /// A drift policy that is decided on now is checked against the time.
    pub(crate) fn parse(
        self,
        now: Option<DateTime<Utc>>,
    ) -> Result<(AgentName, Labels, DriftPolicy)> {
        let mut problems = Problems::default();
        let parsed = parse_identity(self.name, self.labels, &mut problems);
        let root = Path::root();
        let path = root.field("drift");
        let policy = self.drift.parse(&path, &mut problems);
        if let Some(now) = now {
            drift::check_until(policy, now, &path, &mut problems);
        }
        problems.finish_with(parsed.map(|(name, labels)| (name, labels, policy)))
    }
}

/// What a caller writes to let an agent in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewRegistrationToken {
    /// See [`Agent::name`].
    #[cfg_attr(feature = "openapi", schema(value_type = AgentName))]
    pub name: String,
    /// See [`Agent::labels`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub labels: Labels,
    /// How long the token is good for: 1 to 8760 hours, 24 when left out.
    #[serde(default = "a_day")]
    #[cfg_attr(feature = "openapi", schema(default = a_day))]
    pub expires_in_hours: u64,
}

const fn a_day() -> u64 {
    24
}

impl NewRegistrationToken {
    pub(crate) fn parse(self) -> Result<(AgentName, Labels, u64)> {
        let mut problems = Problems::default();
        let parsed = parse_identity(self.name, self.labels, &mut problems);
        if !(1..=MAX_TOKEN_HOURS).contains(&self.expires_in_hours) {
            let message = format!("must be from 1 to {MAX_TOKEN_HOURS}");
            problems.add(&Path::root().field("expires_in_hours"), FieldCode::OutOfRange, message);
        }
        problems.finish_with(parsed.map(|(name, labels)| (name, labels, self.expires_in_hours)))
    }
}

fn parse_identity(
    name: String,
    labels: Labels,
    problems: &mut Problems,
) -> Option<(AgentName, Labels)> {
    let root = Path::root();
    let labels = labels::parse(labels, &root.field("labels"), problems);
    let name = problems.take(&root.field("name"), AgentName::parse(name));
    name.map(|name| (name, labels))
}

fn check_name(text: &str) -> Result<(), Malformed> {
    check_label(text, MAX_LABEL_CHARS)
}
