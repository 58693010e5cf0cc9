use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Id,
    gateway::{AgentId, link::CommandAction},
};

/// How long an agent has to answer a command.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// Names a command.
pub type CommandId = Id<AgentCommand>;

/// A command on its way to the server that the agent is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCommand {
    /// Names it.
    pub id: CommandId,
    /// Who should carry it out.
    pub agent_id: AgentId,
    /// What to do.
    pub action: CommandAction,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// The agent answered.
    Answered {
        /// Whether it could do it.
        success: bool,
        /// Its own words.
        message: String,
    },
    /// The agent did not answer.
    Unanswered {
        /// Why.
        reason: String,
    },
}
