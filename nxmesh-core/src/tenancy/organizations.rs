use crate::{
    Actor, Error, ErrorKind, IfMatch, MergePatch, Page, PageRequest, Result,
    clock::new_id,
    tenancy::{Context, NewOrganization, Organization, OrganizationId, TenancyChange},
};

/// The organizations: `mesh.tenancy().organizations()`.
///
/// Every call shows an actor only those that they belong to; any other is `NotFound`.
#[derive(Debug, Clone)]
pub struct Organizations {
    context: Context,
}

impl Organizations {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of the actor, in order of creation.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, actor: &Actor, page: PageRequest) -> Result<Page<Organization>> {
        self.context.store.organizations(actor.user_id(), page).await
    }

    /// One organization.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: OrganizationId) -> Result<Organization> {
        let found = self.context.store.organization(id, actor.user_id()).await?;
        found.ok_or_else(|| Error::not_found("organization", id))
    }

    /// Makes an organization; the actor is its owner.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid); [`Conflict`](ErrorKind::Conflict) when the slug is taken.
    pub async fn create(&self, actor: &Actor, new: NewOrganization) -> Result<Organization> {
        let (name, slug) = new.parse()?;
        let clock = self.context.clock.as_ref();
        let now = clock.now();
        let organization = Organization {
            id: new_id(clock),
            name,
            slug,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let change = TenancyChange::CreateOrganization {
            organization: organization.clone(),
            owner: actor.user_id(),
        };
        self.context.store.commit(change).await?;
        Ok(organization)
    }

    /// Changes an organization.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Invalid`](ErrorKind::Invalid),
    /// [`Precondition`](ErrorKind::Precondition) when `if_match` names another version,
    /// [`Conflict`](ErrorKind::Conflict) when the slug is taken.
    pub async fn update(
        &self,
        actor: &Actor,
        id: OrganizationId,
        patch: &MergePatch,
        if_match: &IfMatch,
    ) -> Result<Organization> {
        loop {
            let current = self.get(actor, id).await?;
            if_match.check(&current.etag())?;
            let (name, slug) = patch.apply(&NewOrganization::from(current.clone()))?.parse()?;
            let base = current.version;
            let updated_at = self.context.clock.now();
            let organization =
                Organization { name, slug, version: base + 1, updated_at, ..current };
            let change =
                TenancyChange::UpdateOrganization { organization: organization.clone(), base };
            match self.context.store.commit(change).await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done.map(|()| organization),
            }
        }
    }

    /// Removes an organization that has no workspaces.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Precondition`](ErrorKind::Precondition),
    /// [`Conflict`](ErrorKind::Conflict) when it has workspaces.
    pub async fn delete(
        &self,
        actor: &Actor,
        id: OrganizationId,
        if_match: &IfMatch,
    ) -> Result<()> {
        loop {
            let current = self.get(actor, id).await?;
            if_match.check(&current.etag())?;
            let change = TenancyChange::DeleteOrganization { id, base: current.version };
            match self.context.store.commit(change).await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done,
            }
        }
    }
}
