use futures::Stream;
use nxmesh_core::{
    Revision, RevisionNumber,
    gateway::{RevisionDiff, RevisionState},
    tenancy::WorkspaceId,
};

use crate::{Client, Result, paging, request::Call};

/// What a workspace was: `client.revisions()`.
#[derive(Debug, Clone)]
pub struct Revisions {
    client: Client,
}

impl Revisions {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// All of a workspace, oldest first.
    pub fn list(
        &self,
        of: WorkspaceId,
    ) -> impl Stream<Item = Result<Revision>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get(format!("workspaces/{of}/revisions")))
    }

    /// The workspace as it was at one.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, of: WorkspaceId, number: RevisionNumber) -> Result<RevisionState> {
        self.client.fetch(Call::get(format!("workspaces/{of}/revisions/{number}"))).await
    }

    /// What changed between two; 0 is the empty workspace.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn diff(
        &self,
        of: WorkspaceId,
        from: RevisionNumber,
        to: RevisionNumber,
    ) -> Result<RevisionDiff> {
        self.client.fetch(Call::get(format!("workspaces/{of}/revisions/{from}/diff/{to}"))).await
    }

    /// Brings virtual hosts and upstreams back to what they were, as a new revision, which is
    /// answered; the head, when they are so already.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FORBIDDEN`, `CONFLICT`.
    pub async fn restore(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Revision> {
        self.client.fetch(Call::post(format!("workspaces/{of}/revisions/{number}/restore"))).await
    }
}
