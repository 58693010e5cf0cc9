//! What agents tell of the servers behind them, and of what was answered.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::gateway::{ServerAddress, UpstreamId, VirtualHostId};

/// Of how many servers an agent tells what its checks found; those that are unhealthy come first.
pub const MAX_TOLD_SERVERS: usize = 1000;
/// Of how many virtual hosts an agent counts failed answers.
pub const MAX_COUNTED_HOSTS: usize = 1000;
/// How much of the reason of a failed check is kept, in characters.
pub const MAX_CHECK_ERROR: usize = 200;

/// How a server of an upstream is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ServerState {
    /// It failed its last checks, as many in a row as make it unhealthy.
    Unhealthy,
    /// It is not checked, or was not checked yet, or the agent is away.
    #[default]
    Unknown,
    /// It answers.
    Healthy,
}

/// What an agent found of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCheck {
    /// Whose server.
    pub upstream_id: UpstreamId,
    /// Which one.
    pub address: ServerAddress,
    /// How it is.
    pub state: ServerState,
    /// Since when; `None` when it was never asked.
    pub since: Option<DateTime<Utc>>,
    /// Why the last check failed; empty when it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// How many checks in a row failed.
    #[serde(default)]
    pub consecutive_failures: u32,
}

/// What an agent found of all servers that it checks.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerChecks {
    /// At most [`MAX_TOLD_SERVERS`].
    pub servers: Vec<ServerCheck>,
    /// How many are checked.
    pub total: u32,
}

impl ServerChecks {
    /// As much of it as is kept.
    pub(crate) fn cut(mut self) -> Self {
        self.servers.truncate(MAX_TOLD_SERVERS);
        for server in &mut self.servers {
            if server.last_error.chars().nth(MAX_CHECK_ERROR).is_some() {
                server.last_error = server.last_error.chars().take(MAX_CHECK_ERROR).collect();
            }
        }
        self
    }

    /// How many of those that are told of are unhealthy.
    pub(crate) fn unhealthy(&self) -> u64 {
        self.servers.iter().filter(|it| it.state == ServerState::Unhealthy).count() as u64
    }
}

/// What an agent's nginx answered since the agent was started.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// All requests, those of the agent itself left out; `None` where nginx was built without its
    /// counters.
    pub requests: Option<u64>,
    /// Those answered with a status of 500 or above.
    pub failed: u64,
    /// The same by virtual host: those that failed at all, at most [`MAX_COUNTED_HOSTS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_by_virtual_host: BTreeMap<VirtualHostId, u64>,
}
