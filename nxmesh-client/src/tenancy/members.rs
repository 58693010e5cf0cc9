use futures::Stream;
use nxmesh_core::tenancy::{Member, MemberPatch, NewMember, OrganizationId, Role, UserId};

use crate::{Client, Result, paging, request::Call};

/// Who belongs to organizations: `client.members()`.
#[derive(Debug, Clone)]
pub struct Members {
    client: Client,
}

impl Members {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// All of an organization.
    pub fn list(
        &self,
        of: OrganizationId,
    ) -> impl Stream<Item = Result<Member>> + Send + Unpin + use<> {
        paging::items(self.client.clone(), Call::get(format!("organizations/{of}/members")))
    }

    /// Adds somebody who has an account.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` when nobody has the address, `CONFLICT` when they are a member already,
    /// `FORBIDDEN`, `NOT_FOUND`.
    pub async fn add(&self, of: OrganizationId, new: &NewMember) -> Result<Member> {
        self.client.fetch(Call::post(format!("organizations/{of}/members")).body(new)).await
    }

    /// Changes somebody's role.
    ///
    /// # Errors
    /// `CONFLICT` when the last owner would be gone, `FORBIDDEN`, `NOT_FOUND`.
    pub async fn update(&self, of: OrganizationId, user: UserId, role: Role) -> Result<Member> {
        let call = Call::patch(format!("organizations/{of}/members/{user}"));
        self.client.fetch(call.body(&MemberPatch { role })).await
    }

    /// Removes somebody.
    ///
    /// # Errors
    /// `CONFLICT` when the last owner would be gone, `FORBIDDEN`, `NOT_FOUND`.
    pub async fn remove(&self, of: OrganizationId, user: UserId) -> Result<()> {
        self.client.send_only(Call::delete(format!("organizations/{of}/members/{user}"))).await
    }
}
