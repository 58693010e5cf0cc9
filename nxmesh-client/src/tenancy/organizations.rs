use futures::Stream;
use nxmesh_core::{
    ETag, MergePatch, Page, PageRequest,
    tenancy::{NewOrganization, Organization, OrganizationId},
};

use crate::{Client, Result, paging, request::Call};

/// The organizations: `client.organizations()`.
#[derive(Debug, Clone)]
pub struct Organizations {
    client: Client,
}

impl Organizations {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// All, oldest first.
    pub fn list(&self) -> impl Stream<Item = Result<Organization>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get("organizations".to_owned()))
    }

    /// One page of them.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when the client is not logged in.
    pub async fn page(&self, page: PageRequest) -> Result<Page<Organization>> {
        self.client.fetch(Call::get("organizations".to_owned()).page(page)).await
    }

    /// One of them.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, id: OrganizationId) -> Result<Organization> {
        self.client.fetch(Call::get(format!("organizations/{id}"))).await
    }

    /// Makes one.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming the fields; `CONFLICT`.
    pub async fn create(&self, new: &NewOrganization) -> Result<Organization> {
        self.client.fetch(Call::post("organizations".to_owned()).body(new)).await
    }

    /// Changes one: what the patch names is replaced, `null` clears, the rest stays.
    ///
    /// # Errors
    /// `NOT_FOUND`, `VALIDATION_ERROR`, `CONFLICT`.
    pub async fn update(&self, id: OrganizationId, patch: &MergePatch) -> Result<Organization> {
        self.client.fetch(Call::patch(format!("organizations/{id}")).body(patch)).await
    }

    /// Changes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`update`](Self::update), and `CONFLICT` with status 412 when it is not.
    pub async fn update_if(
        &self,
        id: OrganizationId,
        tag: &ETag,
        patch: &MergePatch,
    ) -> Result<Organization> {
        self.client
            .fetch(Call::patch(format!("organizations/{id}")).if_match(tag).body(patch))
            .await
    }

    /// Removes one.
    ///
    /// # Errors
    /// `NOT_FOUND`; `CONFLICT` when something needs it.
    pub async fn delete(&self, id: OrganizationId) -> Result<()> {
        self.client.send_only(Call::delete(format!("organizations/{id}"))).await
    }

    /// Removes one, and its workspaces, with all that is in them.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FORBIDDEN`.
    pub async fn delete_with_children(&self, id: OrganizationId) -> Result<()> {
        let call = Call::delete(format!("organizations/{id}")).query("cascade", "true".to_owned());
        self.client.send_only(call).await
    }

    /// Removes one, if it is still in the state with this tag.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), and `CONFLICT` with status 412 when it is not.
    pub async fn delete_if(&self, id: OrganizationId, tag: &ETag) -> Result<()> {
        self.client.send_only(Call::delete(format!("organizations/{id}")).if_match(tag)).await
    }
}
