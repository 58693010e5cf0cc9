use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ETag, Id, RevisionNumber,
    gateway::{AgentId, Answered, LabelSelector},
    tenancy::{UserId, WorkspaceId},
};

/// The id of a [`Rollout`].
pub type RolloutId = Id<Rollout>;

/// A revision on its way to the agents of a workspace, wave by wave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rollout {
    /// Never changes.
    pub id: RolloutId,
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// What agents are brought to.
    pub revision: RevisionNumber,
    /// What they were on before, and are taken back to.
    pub released: RevisionNumber,
    /// The revision that made the delivery of the workspace staged. Once that ends, so does the
    /// rollout.
    pub staged_since: RevisionNumber,
    /// Why, for whoever reads it.
    pub message: String,
    /// How it is.
    pub state: RolloutState,
    /// Why it is halted or was aborted; nothing in other states.
    pub reason: Option<String>,
    /// Whom it reaches when, in order. The last wave is all the rest.
    pub waves: Vec<Wave>,
    /// What halts it.
    pub gates: Gates,
    /// Who started it.
    pub started_by: UserId,
    /// How often it was changed.
    pub version: u64,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was over; nothing before that.
    pub ended_at: Option<DateTime<Utc>>,
}

/// How a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RolloutState {
    /// Wave by wave.
    Running,
    /// No further until it is resumed; nobody is taken back, and no gate is looked at.
    Paused,
    /// A gate closed; all agents were taken back. It is over.
    Halted,
    /// All agents are on its revision, which is the released one. It is over.
    Completed,
    /// Somebody ended it; all agents were taken back. It is over.
    Aborted,
}

/// Some agents that a rollout reaches together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Wave {
    /// Which, of those that no earlier wave has.
    pub which: WaveAgents,
    /// For how long all must be well before the next wave.
    pub soak_seconds: u64,
    /// How far it is.
    pub state: WaveState,
    /// Which agents these are, decided when the wave was started; nothing before that, and for
    /// all the rest.
    pub members: Option<Vec<AgentId>>,
    /// When it was started.
    pub started_at: Option<DateTime<Utc>>,
    /// Since when all of its connected agents are proven to serve the revision.
    pub soaking_since: Option<DateTime<Utc>>,
    /// Since when it waits for a connected agent that is not proven to serve the revision; nothing
    /// while there is none, and while the rollout is paused.
    pub waiting_since: Option<DateTime<Utc>>,
    /// When it was finished.
    pub finished_at: Option<DateTime<Utc>>,
    /// How its agents are; as they were last, once the rollout is over.
    pub figures: WaveFigures,
}

/// Which agents are in a wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WaveAgents {
    /// Those whose labels match.
    Selector(LabelSelector),
    /// So many of a hundred, rounded up, by chance; for one rollout always the same.
    Percent(u8),
    /// These.
    AgentIds(Vec<AgentId>),
    /// All that no earlier wave has, and those that are new.
    Rest,
}

/// How far a wave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WaveState {
    /// Its agents are on what was released before.
    Waiting,
    /// Its agents are sent the revision.
    Converging,
    /// All that are connected serve it.
    Soaking,
    /// The next wave was started.
    Finished,
    /// Its agents were taken back.
    TakenBack,
}

/// How the agents of a wave are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaveFigures {
    /// How many there are.
    pub agents: u64,
    /// How many are connected and proven to serve the revision.
    pub verified: u64,
    /// How many are not there yet: those that are connected, or were when the wave was begun.
    pub converging: u64,
    /// How many were away before, or leave what is on their host as it is for now (drift policy
    /// `adopt`). They do not hold a wave up, and get what is right for them when they are back.
    pub offline: u64,
    /// How many could not serve the revision since the wave was started, whatever came after.
    pub failed: u64,
    /// How many are connected, and their nginx does not run.
    pub nginx_down: u64,
    /// What those that took the revision had answered with what they served before.
    pub answered_before: Answered,
    /// What they have answered since.
    pub answered_since: Answered,
    /// By how many percent of all answers those of status 500 and more have become more.
    /// Nothing as long as there are fewer answers than `min_requests`.
    pub new_5xx_percent: Option<f64>,
}

/// What halts a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gates {
    /// How many agents of all waves may fail to serve the revision.
    pub max_failed_applies: u64,
    /// By how many percent of all answers those of status 500 and more may become more, on the
    /// agents of any wave, against what the same agents answered before.
    pub max_5xx_percent: f64,
    /// How many answers it takes to judge by.
    pub min_requests: u64,
    /// For how many seconds a wave may wait for connected agents that are not proven to serve the
    /// revision, without another one of the wave getting there; anew when the rollout is resumed.
    // Rollouts that were stored before there was a deadline have the usual one.
    #[serde(default = "Gates::usual_deadline")]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub deadline_seconds: u64,
}

impl Gates {
    /// How long a wave may wait unless a caller says otherwise.
    pub const DEADLINE_SECONDS: u64 = 600;

    const fn usual_deadline() -> u64 {
        Self::DEADLINE_SECONDS
    }
}

impl Rollout {
    /// Names this state of it.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag::new(self.version)
    }

    /// The wave that is under way, if one is.
    pub(crate) fn current(&self) -> Option<usize> {
        let under_way = |it: &Wave| matches!(it.state, WaveState::Converging | WaveState::Soaking);
        self.waves.iter().position(under_way)
    }

    /// Takes it no further until it is resumed. Its wave then waits anew.
    pub(crate) fn pause(&mut self) {
        self.state = RolloutState::Paused;
        for wave in &mut self.waves {
            wave.waiting_since = None;
        }
    }
}

impl RolloutState {
    /// Whether it may still change.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl WaveState {
    /// Whether its agents are to serve the revision.
    #[must_use]
    pub const fn is_started(self) -> bool {
        matches!(self, Self::Converging | Self::Soaking | Self::Finished)
    }
}
