use std::{collections::HashMap, fmt::Debug, num::NonZeroU64, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::{
    Page, PageRequest, Result, Revision, RevisionNumber, TokenHash, Trail,
    events::NewEvent,
    gateway::{
        AgentCommand, AgentFilter, AgentId, AgentRecord, AgentSpec, AgentStatus, CommandId,
        CommandOutcome, DeliveryRecord, Rollout, RolloutId, RolloutMark, SessionId, SilentAgent,
        Snapshot, Upstream, UpstreamId, VirtualHost, VirtualHostId, drift::DriftRecord,
    },
    tenancy::{Settings, WorkspaceId},
};

/// How many commands may wait for one agent.
pub const MAX_WAITING_COMMANDS: usize = 16;
/// How many rollouts of a workspace are kept.
pub const MAX_ROLLOUTS: u64 = 100;

/// What the gateway area asks of a database: the same one that holds the tenancy area.
///
/// Reads see every change that was answered before they began. A call whose future is
/// dropped is done whole or not at all, and harms no later call. A change that fails and may
/// have been made all the same says so ([`Error::undecided`](crate::Error::undecided)). Several servers may work
/// on one store, where the store allows that.
#[async_trait]
pub trait GatewayStore: Debug + Send + Sync + 'static {
    /// All of a workspace that decides what its agents serve, at one moment; `None` when
    /// there is no such workspace.
    async fn snapshot(&self, of: WorkspaceId) -> Result<Option<Snapshot>>;

    /// At which revision each of these workspaces is; those that are gone are left out.
    async fn heads(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RevisionNumber>>;

    /// What was written after revision `after`, oldest first, and the revision this leads to;
    /// `None` when there is no such workspace. Where revisions were dropped since, what was
    /// written is not told: the whole workspace must be read.
    async fn writes_since(&self, of: WorkspaceId, after: RevisionNumber) -> Result<Option<Writes>>;

    /// `None` when there is no such virtual host.
    async fn virtual_host(&self, id: VirtualHostId) -> Result<Option<VirtualHost>>;

    /// In order of creation, then id.
    async fn virtual_hosts(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<VirtualHost>>;

    /// `None` when there is no such upstream.
    async fn upstream(&self, id: UpstreamId) -> Result<Option<Upstream>>;

    /// In order of creation, then id.
    async fn upstreams(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Upstream>>;

    /// `None` when there is no such agent.
    async fn agent(&self, id: AgentId) -> Result<Option<AgentRecord>>;

    /// Those that match, in order of creation, then id.
    async fn agents(
        &self,
        of: WorkspaceId,
        filter: &AgentFilter,
        page: PageRequest,
    ) -> Result<Page<AgentRecord>>;

    /// How many agents there are.
    async fn agent_count(&self) -> Result<AgentCount>;

    /// The registration token or credential with this hash.
    async fn agent_secret(&self, hash: &TokenHash) -> Result<Option<AgentSecret>>;

    /// One state of a workspace; `None` when there is no such revision, or not any more.
    async fn revision(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Option<Revision>>;

    /// In order of their numbers.
    async fn revisions(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Revision>>;

    /// A workspace as the history made it up to a revision, 0 being empty; `None` when there is
    /// no such workspace or revision, or not any more.
    async fn state_at(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Option<Snapshot>>;

    /// Workspaces that have more revisions than this; some of them, if they are many.
    async fn long_histories(&self, more_than: u64) -> Result<Vec<WorkspaceId>>;

    /// Drops the oldest revisions of a workspace but for the newest `keep`, and none from the one
    /// on that [`DeliveryRecord::oldest`] says; some of them, if they
    /// are many. Answers how many: call it again until that is 0. What the workspace is, and was
    /// at those that are kept, stays the same.
    async fn drop_revisions(&self, of: WorkspaceId, keep: NonZeroU64) -> Result<u64>;

    /// Applies all of `change`, or nothing, and then announces it. An object that several of
    /// its steps write ends as the last one writes it.
    ///
    /// Fails with [`Stale`](crate::ErrorKind::Stale) when the workspace has left `change.base`,
    /// and with [`NotFound`](crate::ErrorKind::NotFound) when it is gone.
    async fn commit(&self, change: GatewayChange) -> Result<()>;

    /// `None` when there is no such rollout, or not any more.
    async fn rollout(&self, id: RolloutId) -> Result<Option<Rollout>>;

    /// Those of a workspace, oldest first.
    async fn rollouts(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Rollout>>;

    /// Those that are running or paused, of all workspaces; some of them, if they are many.
    async fn rollouts_under_way(&self) -> Result<Vec<Rollout>>;

    /// What decides which revision the agents of a workspace serve, at one moment; `None` when
    /// there is no such workspace.
    async fn delivery(&self, of: WorkspaceId) -> Result<Option<DeliveryRecord>>;

    /// How far the rollouts of these workspaces are; those without any are left out.
    async fn rollout_marks(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RolloutMark>>;

    /// Adds a rollout of version 1, or puts one in place of the version before; the trail is
    /// recorded with it, and it is announced. Answers `false`, and changes nothing, when that is
    /// not its version any more, it is over, another one of the workspace is under way, or the
    /// workspace is gone. With each that is added, those are dropped that are older than the
    /// newest [`MAX_ROLLOUTS`], but for the newest that was completed.
    async fn put_rollout(&self, rollout: &Rollout, trail: Trail) -> Result<bool>;

    /// Adds a credential. Answers `false`, and changes nothing, when the agent is gone.
    async fn add_agent_secret(&self, secret: AgentSecret) -> Result<bool>;

    /// Removes all secrets of the agent but this one. Answers `false`, and changes nothing,
    /// when this one is not there.
    async fn keep_only_agent_secret(&self, agent: AgentId, hash: &TokenHash) -> Result<bool>;

    /// The agent is held by this connection from now on, and by no older one; the events are
    /// recorded with it. Answers `false`, and records nothing, when the agent is gone.
    async fn open_agent_session(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool>;

    /// Replaces what is known of an agent, and records the events with it. Answers `false`, and
    /// changes nothing, when the agent is gone or another connection holds it.
    async fn record_agent_status(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool>;

    /// Agents whose stream some server holds, as far as is known, but that were last heard of
    /// before then, those unheard of the longest first: `most` at most.
    async fn silent_agents(&self, before: DateTime<Utc>, most: usize) -> Result<Vec<SilentAgent>>;

    /// Takes an agent from the connection that was found silent: `by`, which is no connection,
    /// holds it from now on. Replaces what is known of the agent, and records the events with it.
    /// Answers `false`, and changes nothing, when the agent is gone, another connection holds it,
    /// or it was heard of since it was found.
    async fn end_silent_session(
        &self,
        silent: &SilentAgent,
        by: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool>;

    /// What an agent told of its last drift; `None` where it told of none, or is gone.
    async fn agent_drift(&self, id: AgentId) -> Result<Option<DriftRecord>>;

    /// Replaces what an agent told of its last drift. Answers `false`, and changes nothing, when
    /// the agent is gone or another connection holds it.
    async fn record_agent_drift(
        &self,
        id: AgentId,
        session: SessionId,
        drift: &DriftRecord,
    ) -> Result<bool>;

    /// Puts a command where the server that the agent is connected to finds it, for as long
    /// as `lasting`, and announces it. Answers `false` when [`MAX_WAITING_COMMANDS`] wait for
    /// the agent already. Commands may be lost in a crash.
    async fn add_command(&self, command: &AgentCommand, lasting: Duration) -> Result<bool>;

    /// The agents for which commands wait.
    async fn waiting_commands(&self) -> Result<Vec<AgentId>>;

    /// Takes all commands that wait for an agent, oldest first: nobody else gets them.
    async fn take_commands(&self, agent: AgentId) -> Result<Vec<AgentCommand>>;

    /// Keeps what became of a command until its time is over, and announces that.
    async fn answer_command(&self, id: CommandId, outcome: &CommandOutcome) -> Result<()>;

    /// What became of a command, once it was answered.
    async fn command_outcome(&self, id: CommandId) -> Result<Option<CommandOutcome>>;

    /// Drops tokens and commands that expired before then. Answers how many.
    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Counts changes of virtual hosts, upstreams and workspaces, each after it can be read and
    /// before it is answered: what was read when this stood at a number holds for as long as it
    /// stands there. `None` where other processes make changes too.
    fn changes(&self) -> Option<u64>;

    /// Hears of what others did, whichever area or process did it. Who falls behind is told
    /// so by the channel, and should look at everything again.
    fn subscribe(&self) -> broadcast::Receiver<News>;

    /// How often to look at everything even without news, because news can be lost; `None`
    /// where they cannot.
    fn poll_interval(&self) -> Option<Duration>;
}

/// Something happened that others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// A workspace has a new revision, or is gone.
    Moved(Moved),
    /// A command waits for this agent.
    CommandWaiting(AgentId),
    /// This command was answered.
    CommandAnswered(CommandId),
    /// A rollout of this workspace has changed.
    RolledOut(WorkspaceId),
}

/// A workspace has a new revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Moved {
    /// Which.
    pub workspace_id: WorkspaceId,
    /// Its head now; `None` when it was deleted.
    pub revision: Option<RevisionNumber>,
}

/// How many agents a store has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentCount {
    /// All.
    pub all: u64,
    /// Those that were connected at least once.
    pub seen: u64,
}

/// One change of a workspace: applied whole, or not at all.
#[derive(Debug, Clone)]
pub struct GatewayChange {
    /// Which workspace.
    pub workspace_id: WorkspaceId,
    /// The head this was decided on.
    pub base: RevisionNumber,
    /// The revisions that follow it, one after the other, without a gap.
    pub steps: Vec<Step>,
}

impl GatewayChange {
    /// The head that it leads to.
    #[must_use]
    pub fn head(&self) -> RevisionNumber {
        self.steps.last().map_or(self.base, |it| it.revision.number)
    }
}

/// What one revision does.
#[derive(Debug, Clone)]
pub struct Step {
    /// The revision.
    pub revision: Revision,
    /// What is written.
    pub writes: Vec<GatewayWrite>,
    /// A registration token that is made with it.
    pub secret: Option<AgentSecret>,
    /// What is recorded with it.
    pub trail: Trail,
}

/// A stretch of a workspace's history.
#[derive(Debug, Clone)]
pub struct Writes {
    /// The head.
    pub revision: RevisionNumber,
    /// What led to it; `None` when the history does not go back so far.
    pub writes: Option<Vec<GatewayWrite>>,
}

/// One write to one object.
#[derive(Debug, Clone, PartialEq)]
pub enum GatewayWrite {
    /// Replaces the settings of the workspace: the revision is then the last that changed the
    /// workspace itself.
    PutSettings(Arc<Settings>),
    /// Makes or replaces a virtual host.
    PutVirtualHost(Arc<VirtualHost>),
    /// Removes a virtual host.
    DeleteVirtualHost(VirtualHostId),
    /// Makes or replaces an upstream.
    PutUpstream(Arc<Upstream>),
    /// Removes an upstream.
    DeleteUpstream(UpstreamId),
    /// Makes an agent, or replaces what callers decide of it.
    PutAgent(Arc<AgentSpec>),
    /// Removes an agent with its secrets.
    DeleteAgent(AgentId),
}

/// What lets an agent in: a registration token or a credential, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSecret {
    /// What is left of the text.
    pub hash: TokenHash,
    /// Which agent it lets in.
    pub agent_id: AgentId,
    /// Until when; `None` for ever.
    pub expires_at: Option<DateTime<Utc>>,
}
