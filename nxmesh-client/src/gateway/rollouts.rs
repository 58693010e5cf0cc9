use futures::Stream;
use nxmesh_core::{
    gateway::{NewRollout, Rollout, RolloutId},
    tenancy::WorkspaceId,
};

use crate::{Client, Result, paging, request::Call};

/// Revisions on their way to agents: `client.rollouts()`.
#[derive(Debug, Clone)]
pub struct Rollouts {
    client: Client,
}

impl Rollouts {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Those of a workspace, oldest first, with figures as of their last step.
    pub fn list(
        &self,
        of: WorkspaceId,
    ) -> impl Stream<Item = Result<Rollout>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get(format!("workspaces/{of}/rollouts")))
    }

    /// One of them, with figures as they are now.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, id: RolloutId) -> Result<Rollout> {
        self.client.fetch(Call::get(format!("rollouts/{id}"))).await
    }

    /// Begins to bring the agents of a workspace to a revision, wave by wave.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming the fields; `CONFLICT` while delivery is immediate, or another
    /// rollout is under way.
    pub async fn start(&self, of: WorkspaceId, new: &NewRollout) -> Result<Rollout> {
        self.client.fetch(Call::post(format!("workspaces/{of}/rollouts")).body(new)).await
    }

    /// Takes it no further until it is resumed.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` when it is not running.
    pub async fn pause(&self, id: RolloutId) -> Result<Rollout> {
        self.client.fetch(Call::post(format!("rollouts/{id}/pause"))).await
    }

    /// Takes it further after it was paused.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` when it is not paused.
    pub async fn resume(&self, id: RolloutId) -> Result<Rollout> {
        self.client.fetch(Call::post(format!("rollouts/{id}/resume"))).await
    }

    /// Ends it: its agents go back to what was released before.
    ///
    /// # Errors
    /// `NOT_FOUND`, `CONFLICT` when it is over.
    pub async fn abort(&self, id: RolloutId) -> Result<Rollout> {
        self.client.fetch(Call::post(format!("rollouts/{id}/abort"))).await
    }
}
