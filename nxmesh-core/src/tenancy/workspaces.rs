use std::sync::Arc;

use serde_json::json;

use crate::{
    Actor, Error, ErrorKind, IfMatch, MergePatch, Page, PageRequest, Result, Revision,
    RevisionNumber, Trail,
    clock::new_id,
    tenancy::{
        AuditedObject, Cascade, Context, NewWorkspace, OrganizationId, Organizations, Permission,
        Role, Settings, TenancyChange, Workspace, WorkspaceId, access,
    },
    trail::{Became, Deed},
};

/// How often a change that another one overtook is tried anew before the caller is told.
const MAX_ATTEMPTS: usize = 64;

/// The workspaces: `mesh.tenancy().workspaces()`.
///
/// Every call shows an actor only those of organizations they belong to; any
/// other is `NotFound`.
#[derive(Debug, Clone)]
pub struct Workspaces {
    context: Context,
}

impl Workspaces {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of an organization, in order of creation.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such organization.
    pub async fn list(
        &self,
        actor: &Actor,
        of: OrganizationId,
        page: PageRequest,
    ) -> Result<Page<Workspace>> {
        self.organizations().held(actor, of, Permission::Read).await?;
        self.context.store.workspaces(of, page).await
    }

    /// One workspace.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: WorkspaceId) -> Result<Workspace> {
        self.seen(actor, id, Permission::Read).await.map(|it| it.0.clone())
    }

    /// One workspace, if the actor may do this there, without asking the store when that is
    /// known: not to decide on a change of the workspace itself.
    pub(crate) async fn seen(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        permission: Permission,
    ) -> Result<Arc<(Workspace, Role)>> {
        let (store, user) = (&self.context.store, actor.user_id());
        let read = async { Ok(store.workspace(id, user).await?.map(Arc::new)) };
        let known = &self.context.at_hand.workspaces;
        let found = known.get(store.changes(), (id, user), read).await?;
        let found = found.ok_or_else(|| Error::not_found("workspace", id))?;
        permit(actor, &found.0, found.1, permission)?;
        Ok(found)
    }

    /// One workspace, if the actor may do this there.
    pub(crate) async fn held(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        permission: Permission,
    ) -> Result<Workspace> {
        let found = self.context.store.workspace(id, actor.user_id()).await?;
        let (workspace, role) = found.ok_or_else(|| Error::not_found("workspace", id))?;
        permit(actor, &workspace, role, permission)?;
        Ok(workspace)
    }

    /// Makes a workspace. If it has settings, they are its first revision.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such organization,
    /// [`Forbidden`](ErrorKind::Forbidden), [`Invalid`](ErrorKind::Invalid), [`Conflict`](ErrorKind::Conflict) when it has a
    /// workspace with this slug.
    pub async fn create(
        &self,
        actor: &Actor,
        of: OrganizationId,
        new: NewWorkspace,
    ) -> Result<Workspace> {
        self.organizations().held(actor, of, Permission::WriteWorkspaces).await?;
        let (name, slug, settings) = new.parse()?;
        let settings = settings.after(&Settings::default(), RevisionNumber::default());
        let clock = self.context.clock.as_ref();
        let (id, now) = (new_id(clock), clock.now());
        let revision = (settings != Settings::default()).then(|| Revision {
            workspace_id: id,
            number: RevisionNumber::default().next(),
            author: actor.user_id(),
            reason: "create workspace".to_owned(),
            created_at: now,
        });
        let workspace = Workspace {
            id,
            organization_id: of,
            name,
            slug,
            settings,
            revision: revision.as_ref().map(|it| it.number).unwrap_or_default(),
            created_at: now,
            updated_at: now,
        };
        let trail = self.trail(actor, Became::Created(&workspace));
        let change = TenancyChange::CreateWorkspace { workspace: workspace.clone(), revision };
        self.context.store.commit(change, trail).await?;
        Ok(workspace)
    }

    /// Changes a workspace, as its next revision.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden), [`Invalid`](ErrorKind::Invalid),
    /// [`Precondition`](ErrorKind::Precondition) when `if_match` names another state,
    /// [`Conflict`](ErrorKind::Conflict) when the slug is taken.
    pub async fn update(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        patch: &MergePatch,
        if_match: &IfMatch,
    ) -> Result<Workspace> {
        for _ in 0..MAX_ATTEMPTS {
            // The head first: what changes after this line makes the commit stale.
            let head = self.context.store.workspace_head(id).await?;
            let base = head.ok_or_else(|| Error::not_found("workspace", id))?;
            let current = self.held(actor, id, Permission::WriteWorkspaces).await?;
            if_match.check(&current.etag())?;
            let (name, slug, settings) =
                patch.apply(&NewWorkspace::from(current.clone()))?.parse()?;
            let now = self.context.clock.now();
            let revision = Revision {
                workspace_id: id,
                number: base.next(),
                author: actor.user_id(),
                reason: "update workspace".to_owned(),
                created_at: now,
            };
            let number = revision.number;
            let settings = settings.after(&current.settings, number);
            let before = current.clone();
            let workspace =
                Workspace { name, slug, settings, revision: number, updated_at: now, ..current };
            let trail = self.trail(actor, Became::Updated(&before, &workspace));
            let change =
                TenancyChange::UpdateWorkspace { workspace: workspace.clone(), base, revision };
            match self.context.store.commit(change, trail).await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done.map(|()| workspace),
            }
        }
        Err(busy())
    }

    /// Removes a workspace that has no agents, with all it serves, or with its agents too: they
    /// are let go, and what they serve stays as it is.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden), [`Precondition`](ErrorKind::Precondition),
    /// [`Conflict`](ErrorKind::Conflict) when it has agents that do not go with it.
    pub async fn delete(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        if_match: &IfMatch,
        cascade: Cascade,
    ) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let current = self.held(actor, id, Permission::WriteWorkspaces).await?;
            if_match.check(&current.etag())?;
            let change = TenancyChange::DeleteWorkspace { id, base: current.revision, cascade };
            let trail = self.trail(actor, Became::Deleted(&current));
            match self.context.store.commit(change, trail).await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done,
            }
        }
        Err(busy())
    }

    fn trail(&self, actor: &Actor, became: Became<'_, Workspace>) -> Trail {
        let workspace = became.now();
        let object = AuditedObject::new("workspace", workspace.id);
        let deed = self.context.deed(actor, workspace.organization_id);
        let deed = Deed { workspace_id: Some(workspace.id), ..deed };
        deed.trail(object, became, json!({"name": workspace.name}))
    }

    fn organizations(&self) -> Organizations {
        Organizations::new(self.context.clone())
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "the workspace changes too fast: try again")
}

/// Fails with `NotFound` where the actor cannot act at all.
fn permit(actor: &Actor, of: &Workspace, role: Role, permission: Permission) -> Result<()> {
    let missing = || Error::not_found("workspace", of.id);
    access::check(actor.role_in(of.organization_id, role).ok_or_else(missing)?, permission)
}
