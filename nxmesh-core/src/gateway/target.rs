use serde::{Deserialize, Serialize};

use crate::{
    FieldCode, Path, Problems,
    gateway::{AgentId, LabelSelector, Labels},
};

/// How many agents one virtual host may name.
pub const MAX_NAMED_AGENTS: usize = 1000;

/// On which agents of its workspace a virtual host is served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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

/// What a caller writes of [`TargetAgents`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewTargetAgents {
    /// `all`, `selector` or `agents`; left out, it is `all`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<LabelSelector>))]
    pub label_selector: Option<String>,
    /// For `agents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<AgentId>>))]
    pub agent_ids: Option<Vec<String>>,
}

impl NewTargetAgents {
    pub(crate) fn parse(self, path: &Path<'_>, problems: &mut Problems) -> TargetAgents {
        let Self { kind, label_selector, agent_ids } = self;
        let kind = kind.as_deref().unwrap_or("all");
        if label_selector.is_some() && kind != "selector" {
            problems.add(
                &path.field("label_selector"),
                FieldCode::Contradiction,
                "goes with the type selector only",
            );
        }
        if agent_ids.is_some() && kind != "agents" {
            problems.add(
                &path.field("agent_ids"),
                FieldCode::Contradiction,
                "goes with the type agents only",
            );
        }
        match kind {
            "all" => TargetAgents::All,
            "selector" => parse_selector(label_selector, &path.field("label_selector"), problems),
            "agents" => {
                parse_agents(&agent_ids.unwrap_or_default(), &path.field("agent_ids"), problems)
            }
            _ => {
                problems.add(
                    &path.field("type"),
                    FieldCode::InvalidValue,
                    "must be one of all, selector, agents",
                );
                TargetAgents::All
            }
        }
    }
}

fn parse_selector(text: Option<String>, path: &Path<'_>, problems: &mut Problems) -> TargetAgents {
    let Some(text) = text else {
        problems.add(path, FieldCode::Required, "is required with the type selector");
        return TargetAgents::All;
    };
    let selector = problems.take(path, LabelSelector::parse(&text));
    selector.map_or(TargetAgents::All, |label_selector| TargetAgents::Selector { label_selector })
}

fn parse_agents(texts: &[String], path: &Path<'_>, problems: &mut Problems) -> TargetAgents {
    if !(1..=MAX_NAMED_AGENTS).contains(&texts.len()) {
        let message = format!("must name 1 to {MAX_NAMED_AGENTS} agents");
        problems.add(path, FieldCode::OutOfRange, message);
    }
    let mut agent_ids = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(id) => agent_ids.push(id),
            Err(_) => problems.add(
                &path.index(at),
                FieldCode::InvalidFormat,
                "must be the id of an agent",
            ),
        }
    }
    TargetAgents::Agents { agent_ids }
}

impl From<TargetAgents> for NewTargetAgents {
    fn from(target: TargetAgents) -> Self {
        let kind = |text: &str| Some(text.to_owned());
        match target {
            TargetAgents::All => Self { kind: kind("all"), ..Self::default() },
            TargetAgents::Selector { label_selector } => Self {
                kind: kind("selector"),
                label_selector: Some(label_selector.into()),
                agent_ids: None,
            },
            TargetAgents::Agents { agent_ids } => {
                let agent_ids = agent_ids.iter().map(ToString::to_string).collect();
                Self { kind: kind("agents"), label_selector: None, agent_ids: Some(agent_ids) }
            }
        }
    }
}
