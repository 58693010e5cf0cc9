use futures::Stream;
use nxmesh_core::{
    ETag, MergePatch, Page, PageRequest,
    gateway::{NewVirtualHost, VirtualHost, VirtualHostId, VirtualHostStatus},
    tenancy::WorkspaceId,
};

use crate::{Client, Result, paging, request::Call};

/// The virtual hosts of a workspace: `client.virtual_hosts()`.
#[derive(Debug, Clone)]
pub struct VirtualHosts {
    client: Client,
}

impl VirtualHosts {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// All, oldest first.
    pub fn list(
        &self,
        of: WorkspaceId,
    ) -> impl Stream<Item = Result<VirtualHost>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get(format!("workspaces/{of}/virtual-hosts")))
    }

    /// One page of them.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such workspace.
    pub async fn page(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<VirtualHost>> {
        self.client.fetch(Call::get(format!("workspaces/{of}/virtual-hosts")).page(page)).await
    }

    /// One of them.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, id: VirtualHostId) -> Result<VirtualHost> {
        self.client.fetch(Call::get(format!("virtual-hosts/{id}"))).await
    }

    /// How one is on each agent that should serve it, oldest agent first.
    pub fn status(
        &self,
        id: VirtualHostId,
    ) -> impl Stream<Item = Result<VirtualHostStatus>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get(format!("virtual-hosts/{id}/status")))
    }

    /// Makes one.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming the fields; `CONFLICT`.
    pub async fn create(&self, of: WorkspaceId, new: &NewVirtualHost) -> Result<VirtualHost> {
        self.client.fetch(Call::post(format!("workspaces/{of}/virtual-hosts")).body(new)).await
    }

    /// Changes one: what the patch names is replaced, `null` clears, the rest stays.
    ///
    /// # Errors
    /// `NOT_FOUND`, `VALIDATION_ERROR`, `CONFLICT`.
    pub async fn update(&self, id: VirtualHostId, patch: &MergePatch) -> Result<VirtualHost> {
        self.client.fetch(Call::patch(format!("virtual-hosts/{id}")).body(patch)).await
    }

    /// Changes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`update`](Self::update), and `CONFLICT` with status 412 when it is not.
    pub async fn update_if(
        &self,
        id: VirtualHostId,
        tag: &ETag,
        patch: &MergePatch,
    ) -> Result<VirtualHost> {
        self.client
            .fetch(Call::patch(format!("virtual-hosts/{id}")).if_match(tag).body(patch))
            .await
    }

    /// Removes one.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when something needs it.
    pub async fn delete(&self, id: VirtualHostId) -> Result<()> {
        self.client.send_only(Call::delete(format!("virtual-hosts/{id}"))).await
    }

    /// Removes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), and `CONFLICT` with status 412 when it is not.
    pub async fn delete_if(&self, id: VirtualHostId, tag: &ETag) -> Result<()> {
        self.client.send_only(Call::delete(format!("virtual-hosts/{id}")).if_match(tag)).await
    }
}
