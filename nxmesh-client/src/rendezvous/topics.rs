use serde::Deserialize;

use super::RendezvousClient;
use crate::{Result, request::Call};

/// What offers are found under, in the protocol `offers`: `client.topics()`.
#[derive(Debug, Clone)]
pub struct Topics {
    client: RendezvousClient,
}

/// Which topics.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TopicFilter {
    /// Those that begin so, in any case of letters.
    pub starts_with: Option<String>,
    /// How many at most; the server decides, if not set.
    pub limit: Option<u32>,
    /// How many to leave out at the beginning.
    pub offset: u64,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub topic: String,
    /// How many peers have open offers under it.
    pub active_peers: u64,
}

/// Some topics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FoundTopics {
    /// The one with the most peers first.
    pub topics: Vec<Topic>,
    /// How many there are.
    pub total: u64,
}

impl Topics {
    pub(super) const fn new(client: RendezvousClient) -> Self {
        Self { client }
    }

    /// Topics that have open offers.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn list(&self, filter: &TopicFilter) -> Result<FoundTopics> {
        let TopicFilter { starts_with, limit, offset } = filter;
        let mut call = Call::get("topics".to_owned()).query("offset", offset.to_string());
        if let Some(limit) = limit {
            call = call.query("limit", limit.to_string());
        }
        if let Some(prefix) = starts_with {
            call = call.query("startsWith", prefix.clone());
        }
        self.client.fetch(call).await
    }
}
