use serde_json::json;

use crate::{
    Actor, Error, ErrorKind, IfMatch, MergePatch, Page, PageRequest, Result, Trail,
    clock::new_id,
    tenancy::{
        AuditedObject, Cascade, Context, NewOrganization, Organization, OrganizationId, Permission,
        Role, TenancyChange, access,
    },
    trail::Became,
};

/// How often a change that another one overtook is tried anew before the caller is told.
const MAX_ATTEMPTS: usize = 16;

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
        match actor.only_in() {
            None => self.context.store.organizations(actor.user_id(), page).await,
            Some(id) => match self.held(actor, id, Permission::Read).await {
                Ok((organization, _)) => Ok(page.of(vec![organization])),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(page.of(Vec::new())),
                Err(error) => Err(error),
            },
        }
    }

    /// One organization.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: OrganizationId) -> Result<Organization> {
        self.held(actor, id, Permission::Read).await.map(|(organization, _)| organization)
    }

    /// One organization, and what the actor is in it, if that is enough.
    pub(crate) async fn held(
        &self,
        actor: &Actor,
        id: OrganizationId,
        permission: Permission,
    ) -> Result<(Organization, Role)> {
        let missing = || Error::not_found("organization", id);
        let found = self.context.store.organization(id, actor.user_id()).await?;
        let (organization, role) = found.ok_or_else(missing)?;
        let role = actor.role_in(id, role).ok_or_else(missing)?;
        access::check(role, permission)?;
        Ok((organization, role))
    }

    /// Makes an organization; the actor is its owner.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid); [`Conflict`](ErrorKind::Conflict) when the slug is taken;
    /// [`Forbidden`](ErrorKind::Forbidden) for an API key, which belongs to one already.
    pub async fn create(&self, actor: &Actor, new: NewOrganization) -> Result<Organization> {
        if actor.api_key().is_some() {
            let message = "an API key cannot make organizations: log in";
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let (name, slug) = new.parse()?;
        let clock = self.context.clock.as_ref();
        let now = clock.now();
        let id = new_id(clock);
        let organization =
            Organization { id, name, slug, version: 1, created_at: now, updated_at: now };
        let change = TenancyChange::CreateOrganization {
            organization: organization.clone(),
            owner: actor.user_id(),
        };
        let trail = self.trail(actor, id, Became::Created(&organization));
        self.context.store.commit(change, trail).await?;
        Ok(organization)
    }

    /// Changes an organization.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden), [`Invalid`](ErrorKind::Invalid),
    /// [`Precondition`](ErrorKind::Precondition) when `if_match` names another version,
    /// [`Conflict`](ErrorKind::Conflict) when the slug is taken.
    pub async fn update(
        &self,
        actor: &Actor,
        id: OrganizationId,
        patch: &MergePatch,
        if_match: &IfMatch,
    ) -> Result<Organization> {
        for _ in 0..MAX_ATTEMPTS {
            let (current, _) = self.held(actor, id, Permission::WriteOrganization).await?;
            if_match.check(&current.etag())?;
            let (name, slug) = patch.apply(&NewOrganization::from(current.clone()))?.parse()?;
            let base = current.version;
            let updated_at = self.context.clock.now();
            let organization =
                Organization { name, slug, version: base + 1, updated_at, ..current.clone() };
            let trail = self.trail(actor, id, Became::Updated(&current, &organization));
            let change =
                TenancyChange::UpdateOrganization { organization: organization.clone(), base };
            match self.context.store.commit(change, trail).await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done.map(|()| organization),
            }
        }
        Err(busy())
    }

    /// Removes an organization that has no workspaces, or all of it with them: their agents
    /// are let go, and what those serve stays as it is.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden), [`Precondition`](ErrorKind::Precondition),
    /// [`Conflict`](ErrorKind::Conflict) when it has workspaces that do not go with it.
    pub async fn delete(
        &self,
        actor: &Actor,
        id: OrganizationId,
        if_match: &IfMatch,
        cascade: Cascade,
    ) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let (current, _) = self.held(actor, id, Permission::WriteOrganization).await?;
            if_match.check(&current.etag())?;
            let change = TenancyChange::DeleteOrganization { id, base: current.version, cascade };
            let trail = self.trail(actor, id, Became::Deleted(&current));
            match self.context.store.commit(change, trail).await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done,
            }
        }
        Err(busy())
    }

    fn trail(&self, actor: &Actor, id: OrganizationId, became: Became<'_, Organization>) -> Trail {
        let object = AuditedObject::new("organization", id);
        self.context.deed(actor, id).trail(object, became, json!({"name": became.now().name}))
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "the organization changes too fast: try again")
}
