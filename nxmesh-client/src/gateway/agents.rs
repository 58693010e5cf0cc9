use chrono::{DateTime, Utc};
use futures::Stream;
use nxmesh_core::{
    ETag, MergePatch, Page, PageRequest, Secret,
    gateway::{
        Agent, AgentConfig, AgentId, AgentState, LabelSelector, NewRegistrationToken,
        ReloadOutcome, drift::DriftDetails,
    },
    tenancy::WorkspaceId,
};
use serde::Deserialize;

use crate::{Client, Result, paging, request::Call};

/// The agents of a workspace: `client.agents()`.
#[derive(Debug, Clone)]
pub struct Agents {
    client: Client,
}

/// Which agents to list; all, by default.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Only those in this state.
    pub state: Option<AgentState>,
    /// Only those whose labels match.
    pub label_selector: Option<LabelSelector>,
    /// Only those that are not proven to serve what they should, or only those that are.
    pub lagging: Option<bool>,
}

/// Lets one agent in, once. It is shown only here.
#[derive(Debug, Clone)]
pub struct RegistrationToken {
    /// What the agent registers with.
    pub token: Secret<String>,
    /// The agent that it will be.
    pub agent_id: AgentId,
    /// Until when it works.
    pub expires_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: String,
    agent_id: AgentId,
    expires_at: DateTime<Utc>,
}

impl Agents {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// All that match, oldest first.
    pub fn list(
        &self,
        of: WorkspaceId,
        filter: &AgentFilter,
    ) -> impl Stream<Item = Result<Agent>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), list(of, filter))
    }

    /// One page of those that match.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such workspace.
    pub async fn page(
        &self,
        of: WorkspaceId,
        filter: &AgentFilter,
        page: PageRequest,
    ) -> Result<Page<Agent>> {
        self.client.fetch(list(of, filter).page(page)).await
    }

    /// One of them, with its health.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, id: AgentId) -> Result<Agent> {
        self.client.fetch(Call::get(format!("agents/{id}"))).await
    }

    /// Makes an agent, and the token that lets it in.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming the fields; `CONFLICT` when two virtual hosts would meet on it.
    pub async fn create_token(
        &self,
        of: WorkspaceId,
        new: &NewRegistrationToken,
    ) -> Result<RegistrationToken> {
        let call = Call::post(format!("workspaces/{of}/agents/tokens")).body(new);
        let TokenAnswer { token, agent_id, expires_at } = self.client.fetch(call).await?;
        Ok(RegistrationToken { token: Secret::new(token), agent_id, expires_at })
    }

    /// Changes name, labels or what it does about drift; labels in the patch replace all labels.
    ///
    /// # Errors
    /// `NOT_FOUND`, `VALIDATION_ERROR`, `CONFLICT`.
    pub async fn update(&self, id: AgentId, patch: &MergePatch) -> Result<Agent> {
        self.client.fetch(Call::patch(format!("agents/{id}")).body(patch)).await
    }

    /// Changes name, labels or what it does about drift, if they are still in the state with this tag.
    ///
    /// # Errors
    /// As [`update`](Self::update), and `CONFLICT` with status 412 when they are not.
    pub async fn update_if(&self, id: AgentId, tag: &ETag, patch: &MergePatch) -> Result<Agent> {
        self.client.fetch(Call::patch(format!("agents/{id}")).if_match(tag).body(patch)).await
    }

    /// Removes an agent: its stream ends, and its credential is worth nothing any more.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delete(&self, id: AgentId) -> Result<()> {
        self.client.send_only(Call::delete(format!("agents/{id}"))).await
    }

    /// The files that it should be running, and what it says it runs.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn config(&self, id: AgentId) -> Result<AgentConfig> {
        self.client.fetch(Call::get(format!("agents/{id}/config"))).await
    }

    /// What it does about drift, and what somebody else last changed on its host, with diffs.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn drift(&self, id: AgentId) -> Result<DriftDetails> {
        self.client.fetch(Call::get(format!("agents/{id}/drift"))).await
    }

    /// Has the agent's nginx reload what it has.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` when the agent is not connected or does not answer.
    pub async fn reload(&self, id: AgentId) -> Result<ReloadOutcome> {
        self.client.fetch(Call::post(format!("agents/{id}/reload"))).await
    }
}

fn list(of: WorkspaceId, filter: &AgentFilter) -> Call {
    let mut call = Call::get(format!("workspaces/{of}/agents"));
    let state = filter.state.map(|it| match it {
        AgentState::Pending => "pending",
        AgentState::Online => "online",
        AgentState::Degraded => "degraded",
        AgentState::Offline => "offline",
    });
    call.query.extend(state.map(|it| ("state", it.to_owned())));
    call.query.extend(filter.label_selector.as_ref().map(|it| ("label_selector", it.to_string())));
    call.query.extend(filter.lagging.map(|it| ("lagging", it.to_string())));
    call
}
