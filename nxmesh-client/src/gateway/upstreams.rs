use futures::Stream;
use nxmesh_core::{
    ETag, MergePatch, Page, PageRequest,
    gateway::{NewUpstream, Upstream, UpstreamId, checks::UpstreamHealth},
    tenancy::WorkspaceId,
};

use crate::{Client, Result, paging, request::Call};

/// The upstreams of a workspace: `client.upstreams()`.
#[derive(Debug, Clone)]
pub struct Upstreams {
    client: Client,
}

impl Upstreams {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// All, oldest first.
    pub fn list(
        &self,
        of: WorkspaceId,
    ) -> impl Stream<Item = Result<Upstream>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get(format!("workspaces/{of}/upstreams")))
    }

    /// One page of them.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such workspace.
    pub async fn page(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Upstream>> {
        self.client.fetch(Call::get(format!("workspaces/{of}/upstreams")).page(page)).await
    }

    /// One of them.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, id: UpstreamId) -> Result<Upstream> {
        self.client.fetch(Call::get(format!("upstreams/{id}"))).await
    }

    /// How its servers are, as the agents that have it find them.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn health(&self, id: UpstreamId) -> Result<UpstreamHealth> {
        self.client.fetch(Call::get(format!("upstreams/{id}/health"))).await
    }

    /// Makes one.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming the fields; `CONFLICT`.
    pub async fn create(&self, of: WorkspaceId, new: &NewUpstream) -> Result<Upstream> {
        self.client.fetch(Call::post(format!("workspaces/{of}/upstreams")).body(new)).await
    }

    /// Changes one: what the patch names is replaced, `null` clears, the rest stays.
    ///
    /// # Errors
    /// `NOT_FOUND`, `VALIDATION_ERROR`, `CONFLICT`.
    pub async fn update(&self, id: UpstreamId, patch: &MergePatch) -> Result<Upstream> {
        self.client.fetch(Call::patch(format!("upstreams/{id}")).body(patch)).await
    }

    /// Changes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`update`](Self::update), and `CONFLICT` with status 412 when it is not.
    pub async fn update_if(
        &self,
        id: UpstreamId,
        tag: &ETag,
        patch: &MergePatch,
    ) -> Result<Upstream> {
        self.client.fetch(Call::patch(format!("upstreams/{id}")).if_match(tag).body(patch)).await
    }

    /// Removes one.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when something needs it.
    pub async fn delete(&self, id: UpstreamId) -> Result<()> {
        self.client.send_only(Call::delete(format!("upstreams/{id}"))).await
    }

    /// Removes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), and `CONFLICT` with status 412 when it is not.
    pub async fn delete_if(&self, id: UpstreamId, tag: &ETag) -> Result<()> {
        self.client.send_only(Call::delete(format!("upstreams/{id}")).if_match(tag)).await
    }
}
