use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Malformed,
    events::{Event, EventType, NewEvent},
    gateway::AgentId,
    tenancy::{OrganizationId, WorkspaceId},
};

/// Which types of event: all, all of one subject, or one.
///
/// ```
/// use nxmesh_core::events::{EventPattern, EventType};
///
/// let pattern: EventPattern = "agent.*".parse()?;
/// assert!(pattern.matches(&EventType::new("agent.connected")));
/// assert!(!pattern.matches(&EventType::new("config.applied")));
/// # Ok::<_, nxmesh_core::Malformed>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventPattern {
    /// `*`
    All,
    /// `agent.*`
    Subject(String),
    /// `agent.connected`
    Exact(EventType),
}

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 64;

impl EventPattern {
    /// Whether it names this type.
    #[must_use]
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::All => true,
            Self::Subject(subject) => event_type.subject() == subject,
            Self::Exact(exact) => event_type == exact,
        }
    }
}

impl FromStr for EventPattern {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let word = |text: &str| {
            let letters = text.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
            letters && !text.is_empty()
        };
        match text.split_once('.') {
            _ if text == "*" => Ok(Self::All),
            Some((subject, "*")) if word(subject) && text.len() <= MAX_BYTES => {
                Ok(Self::Subject(subject.to_owned()))
            }
            Some((subject, verb)) if word(subject) && word(verb) && text.len() <= MAX_BYTES => {
                Ok(Self::Exact(EventType::new(text)))
            }
            Some(_) | None => {
                let message = "must be *, a subject as agent.*, or a type as agent.connected";
                Err(Malformed::format(message))
            }
        }
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Subject(subject) => write!(f, "{subject}.*"),
            Self::Exact(exact) => exact.fmt(f),
        }
    }
}

impl Serialize for EventPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|bad: Malformed| serde::de::Error::custom(bad.message))
    }
}

/// Where what is watched happens; what is not named may be any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// In this organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<OrganizationId>,
    /// In this workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<WorkspaceId>,
    /// About this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

impl EventFilter {
    /// Whether an event passes.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let Event { id: _, event } = event;
        let NewEvent { organization_id, workspace_id, .. } = event;
        self.organization_id.is_none_or(|it| it == *organization_id)
            && self.workspace_id.is_none_or(|it| Some(it) == *workspace_id)
            && self.agent_id.is_none_or(|it| Some(it) == event.agent_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for text in ["*", "agent.*", "virtual_host.updated"] {
            assert_eq!(text.parse::<EventPattern>().unwrap().to_string(), text);
        }
        let long = format!("{}.*", "a".repeat(62));
        assert!(long.parse::<EventPattern>().is_ok());
        let too_long = format!("{}.*", "a".repeat(63));
        for text in ["", "agent", "agent.", ".x", "*.x", "a.b.c", "Agent.*", "a.**", &too_long] {
            assert!(text.parse::<EventPattern>().is_err(), "{text}");
        }
    }
}
