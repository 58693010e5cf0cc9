use serde::{Deserialize, Serialize};

use crate::gateway::{AgentId, LabelSelector, Labels};

/// On which agents of its workspace a virtual host is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TargetAgents {
    /// On all.
    #[default]
    All,
    /// On those whose labels match.
    Selector {
        /// Which labels.
        label_selector: LabelSelector,
    },
    /// On these.
    Agents {
        /// Which.
        agent_ids: Vec<AgentId>,
    },
}

impl TargetAgents {
    /// Whether an agent with this id and these labels is meant.
    #[must_use]
    pub fn matches(&self, id: AgentId, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            Self::Selector { label_selector } => label_selector.matches(labels),
            Self::Agents { agent_ids } => agent_ids.contains(&id),
        }
    }
}
