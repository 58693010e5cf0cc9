use futures::Stream;
use nxmesh_core::{
    ETag, MergePatch, Page, PageRequest,
    tenancy::{NewWorkspace, OrganizationId, Workspace, WorkspaceId},
};

use crate::{Client, Result, paging, request::Call};

/// The workspaces of an organization: `client.workspaces()`.
#[derive(Debug, Clone)]
pub struct Workspaces {
    client: Client,
}

impl Workspaces {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// All, oldest first.
    pub fn list(
        &self,
        of: OrganizationId,
    ) -> impl Stream<Item = Result<Workspace>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get(format!("organizations/{of}/workspaces")))
    }

    /// One page of them.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such organization.
    pub async fn page(&self, of: OrganizationId, page: PageRequest) -> Result<Page<Workspace>> {
        self.client.fetch(Call::get(format!("organizations/{of}/workspaces")).page(page)).await
    }

    /// One of them.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, id: WorkspaceId) -> Result<Workspace> {
        self.client.fetch(Call::get(format!("workspaces/{id}"))).await
    }

    /// Makes one.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming the fields; `CONFLICT`.
    pub async fn create(&self, of: OrganizationId, new: &NewWorkspace) -> Result<Workspace> {
        self.client.fetch(Call::post(format!("organizations/{of}/workspaces")).body(new)).await
    }

    /// Changes one: what the patch names is replaced, `null` clears, the rest stays.
    ///
    /// # Errors
    /// `NOT_FOUND`, `VALIDATION_ERROR`, `CONFLICT`.
    pub async fn update(&self, id: WorkspaceId, patch: &MergePatch) -> Result<Workspace> {
        self.client.fetch(Call::patch(format!("workspaces/{id}")).body(patch)).await
    }

    /// Changes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`update`](Self::update), and `CONFLICT` with status 412 when it is not.
    pub async fn update_if(
        &self,
        id: WorkspaceId,
        tag: &ETag,
        patch: &MergePatch,
    ) -> Result<Workspace> {
        self.client.fetch(Call::patch(format!("workspaces/{id}")).if_match(tag).body(patch)).await
    }

    /// Removes one.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when something needs it.
    pub async fn delete(&self, id: WorkspaceId) -> Result<()> {
        self.client.send_only(Call::delete(format!("workspaces/{id}"))).await
    }

    /// Removes one, and its agents.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FORBIDDEN`.
    pub async fn delete_with_children(&self, id: WorkspaceId) -> Result<()> {
        let call = Call::delete(format!("workspaces/{id}")).query("cascade", "true".to_owned());
        self.client.send_only(call).await
    }

    /// Removes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), and `CONFLICT` with status 412 when it is not.
    pub async fn delete_if(&self, id: WorkspaceId, tag: &ETag) -> Result<()> {
        self.client.send_only(Call::delete(format!("workspaces/{id}")).if_match(tag)).await
    }
}
