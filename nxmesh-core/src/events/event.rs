use std::{fmt, num::ParseIntError, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    gateway::AgentId,
    tenancy::{OrganizationId, WorkspaceId},
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the order of all events.
    pub id: EventId,
    /// What happened.
    #[serde(flatten)]
    pub event: NewEvent,
}

/// Something that happened and is not in the store yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// The sort: `agent.connected`, `virtual_host.updated`.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// In which organization.
    pub organization_id: OrganizationId,
    /// In which workspace, if in one.
    pub workspace_id: Option<WorkspaceId>,
    /// What is to be said of it, by its type.
    pub data: Map<String, Value>,
}

impl NewEvent {
    /// The agent that it is about, if it is about one.
    #[must_use]
    pub fn agent_id(&self) -> Option<AgentId> {
        self.data.get("agent_id")?.as_str()?.parse().ok()
    }
}

/// The place of an event in the order of all: later events have larger ids, not each the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// As text: numbers of this size lose digits in JavaScript.
impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The sort of an event: an object and what became of it, `upstream.deleted`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventType(String);

impl EventType {
    /// An agent has connected.
    pub const AGENT_CONNECTED: &str = "agent.connected";
    /// The connection of an agent has ended.
    pub const AGENT_DISCONNECTED: &str = "agent.disconnected";
    /// A connected agent has not served what it should for too long.
    pub const AGENT_LAGGING: &str = "agent.lagging";
    /// An agent of which that was told has caught up.
    pub const AGENT_CONVERGED: &str = "agent.converged";
    /// An agent has told what became of a configuration.
    pub const CONFIG_APPLIED: &str = "config.applied";
    /// Somebody else has changed what an agent looks after.
    pub const AGENT_DRIFT_DETECTED: &str = "agent.drift_detected";
    /// Nothing differs any more from what an agent wrote.
    pub const AGENT_DRIFT_RESTORED: &str = "agent.drift_restored";
    /// An agent has told of trouble.
    pub const HEALTH_ALERT: &str = "health.alert";
    /// An agent holds a virtual host back, because its nginx refuses it.
    pub const VIRTUAL_HOST_QUARANTINED: &str = "virtual_host.quarantined";
    /// An agent does not hold a virtual host back any more.
    pub const VIRTUAL_HOST_RELEASED: &str = "virtual_host.released";

    /// Agents of a wave of a rollout are sent its revision.
    pub const ROLLOUT_WAVE_STARTED: &str = "rollout.wave_started";
    /// A wave of a rollout was well for as long as it had to be.
    pub const ROLLOUT_WAVE_FINISHED: &str = "rollout.wave_finished";
    /// A gate of a rollout closed: its agents are taken back.
    pub const ROLLOUT_HALTED: &str = "rollout.halted";
    /// All agents are on the revision of a rollout.
    pub const ROLLOUT_COMPLETED: &str = "rollout.completed";
    /// A rollout was ended by somebody, or with staged delivery.
    pub const ROLLOUT_ABORTED: &str = "rollout.aborted";

    /// An API key was revoked.
    pub const API_KEY_REVOKED: &str = "api_key.revoked";

    /// This type.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is about, before the dot.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    #[test]
    fn looks_like_the_contract() {
        let data = serde_json::json!({"agent_id": Id::<()>::from_uuid(uuid::Uuid::from_u128(3))});
        let event = NewEvent {
            event_type: EventType::new(EventType::AGENT_CONNECTED),
            timestamp: DateTime::UNIX_EPOCH,
            organization_id: Id::from_uuid(uuid::Uuid::from_u128(1)),
            workspace_id: None,
            data: data.as_object().unwrap().clone(),
        };
        let event = Event { id: EventId(9_007_199_254_740_993), event };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["id"], "9007199254740993");
        assert_eq!(json["type"], "agent.connected");
        assert_eq!(json["data"]["agent_id"], data["agent_id"]);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        assert!(event.event.agent_id().is_some());
    }
}
