use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    Actor, Error, IfMatch, MergePatch, Page, PageRequest, Result, RevisionNumber,
    clock::new_id,
    gateway::{
        GatewayWrite, NewVirtualHost, Snapshot, TargetAgents, VirtualHost, VirtualHostId,
        VirtualHostSpec, VirtualHostStatus,
        change_set::Edit,
        conflict,
        context::{Context, Decision, Shared},
    },
    tenancy::{Permission, WorkspaceId},
};

/// What is served: `mesh.gateway().virtual_hosts()`.
///
/// Every call shows an actor only what belongs to their organizations; anything
/// else is `NotFound`.
#[derive(Debug, Clone)]
pub struct VirtualHosts {
    context: Context,
}

impl VirtualHosts {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of a workspace, in order of creation.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace.
    pub async fn list(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        page: PageRequest,
    ) -> Result<Page<VirtualHost>> {
        self.context.check(actor, of, Permission::Read).await?;
        let Shared { store, at_hand, .. } = self.context.as_ref();
        let read = async { store.virtual_hosts(of, page).await.map(Some) };
        let found = at_hand.virtual_host_pages.get(store.changes(), (of, page), read).await?;
        found.ok_or_else(|| Error::not_found("workspace", of))
    }

    /// One virtual host.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: VirtualHostId) -> Result<VirtualHost> {
        self.held(actor, id, Permission::Read).await
    }

    /// How it is on each agent that should serve it, in order of their creation.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn status(
        &self,
        actor: &Actor,
        id: VirtualHostId,
        page: PageRequest,
    ) -> Result<Page<VirtualHostStatus>> {
        let host = self.held(actor, id, Permission::Read).await?;
        let published = self.context.snapshots.get(host.workspace_id).await?;
        let agents = published.snapshot.agents().values();
        let meant = agents.filter(|it| host.target_agents.matches(it.id, &it.labels));
        let Page { data, meta } = page.of(meant);
        let mut found = Vec::with_capacity(data.len());
        for agent in data {
            // One that is deleted meanwhile serves nothing.
            let Some(desired) = published.update_for(agent.id) else { continue };
            let Some(record) = self.context.store.agent(agent.id).await? else { continue };
            found.push(VirtualHostStatus::of(id, agent, &record.status, &desired));
        }
        Ok(Page { data: found, meta })
    }

    /// The virtual host, if the actor may do this there. It says which workspace it is in; what
    /// is changed there is decided on a snapshot.
    async fn held(
        &self,
        actor: &Actor,
        id: VirtualHostId,
        permission: Permission,
    ) -> Result<VirtualHost> {
        let missing = || Error::not_found("virtual host", id);
        let Shared { store, at_hand, .. } = self.context.as_ref();
        let found = at_hand.virtual_hosts.get(store.changes(), id, store.virtual_host(id)).await?;
        let host = found.ok_or_else(missing)?;
        self.context
            .check(actor, host.workspace_id, permission)
            .await
            .map_err(|error| error.or_missing(missing))?;
        Ok(host)
    }

    /// Makes a virtual host, as the workspace's next revision.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace,
    /// [`Forbidden`](crate::ErrorKind::Forbidden), [`Invalid`](crate::ErrorKind::Invalid), [`Conflict`](crate::ErrorKind::Conflict) when
    /// it would meet another on one agent with the same port and name.
    pub async fn create(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewVirtualHost,
    ) -> Result<VirtualHost> {
        self.context.check(actor, of, Permission::WriteServed).await?;
        let edit = Edit::Create(new.parse().map(HostContent::from)?);
        let id = new_id(self.context.clock.as_ref());
        let now = self.context.clock.now();
        let decide = |snapshot: &Snapshot| decision(snapshot, id, &edit, now);
        self.context.change(actor, of, decide).await
    }

    /// Changes a virtual host, as the workspace's next revision; a patch that
    /// changes nothing makes none.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Forbidden`](crate::ErrorKind::Forbidden), [`Invalid`](crate::ErrorKind::Invalid),
    /// [`Precondition`](crate::ErrorKind::Precondition) when `if_match` names another state,
    /// [`Conflict`](crate::ErrorKind::Conflict) as on creation.
    pub async fn update(
        &self,
        actor: &Actor,
        id: VirtualHostId,
        patch: &MergePatch,
        if_match: &IfMatch,
    ) -> Result<VirtualHost> {
        let workspace = self.held(actor, id, Permission::WriteServed).await?.workspace_id;
        let now = self.context.clock.now();
        let edit = Edit::Update(patch.clone(), if_match.clone());
        let decide = |snapshot: &Snapshot| decision(snapshot, id, &edit, now);
        self.context.change(actor, workspace, decide).await
    }

    /// Removes a virtual host, as the workspace's next revision, which is answered.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Forbidden`](crate::ErrorKind::Forbidden), [`Precondition`](crate::ErrorKind::Precondition).
    pub async fn delete(
        &self,
        actor: &Actor,
        id: VirtualHostId,
        if_match: &IfMatch,
    ) -> Result<RevisionNumber> {
        let workspace = self.held(actor, id, Permission::WriteServed).await?.workspace_id;
        let now = self.context.clock.now();
        let edit = Edit::Delete(if_match.clone());
        let decide = |snapshot: &Snapshot| {
            let next = snapshot.revision().next();
            Ok(decision(snapshot, id, &edit, now)?.answering(|_| next))
        };
        self.context.change(actor, workspace, decide).await
    }
}

/// What a caller decides of a virtual host, valid.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gateway) struct HostContent {
    spec: Arc<VirtualHostSpec>,
    target_agents: TargetAgents,
}

#[cfg(test)]
impl HostContent {
    pub(in crate::gateway) fn spec(&self) -> &VirtualHostSpec {
        &self.spec
    }
}

impl From<(VirtualHostSpec, TargetAgents)> for HostContent {
    fn from((spec, target_agents): (VirtualHostSpec, TargetAgents)) -> Self {
        Self { spec: Arc::new(spec), target_agents }
    }
}

fn decision(
    snapshot: &Snapshot,
    id: VirtualHostId,
    edit: &Edit<HostContent>,
    now: DateTime<Utc>,
) -> Result<Decision<VirtualHost>> {
    let (host, write) = edited(snapshot, id, edit, now)?;
    let reason = format!("{} virtual host {}", edit.verb(), host.spec.name);
    let decision = Decision::write(host, reason, write.into_iter().collect());
    Ok(decision.provided(move |after| conflict::check(after, &[id], &[])))
}

/// The virtual host as this leaves it, or as it was removed; with nothing to write, when it is
/// so already. What comes of it is still to be checked.
pub(in crate::gateway) fn edited(
    snapshot: &Snapshot,
    id: VirtualHostId,
    edit: &Edit<HostContent>,
    now: DateTime<Utc>,
) -> Result<(VirtualHost, Option<GatewayWrite>)> {
    let revision = snapshot.revision().next();
    let after = match edit {
        Edit::Create(HostContent { spec, target_agents }) => VirtualHost {
            id,
            workspace_id: snapshot.workspace_id(),
            spec: Arc::clone(spec),
            target_agents: target_agents.clone(),
            revision,
            created_at: now,
            updated_at: now,
        },
        Edit::Update(patch, if_match) => {
            let current = find(snapshot, id, if_match)?;
            let (spec, target_agents) = patch.apply(&body_of(current, patch))?.parse()?;
            if spec == *current.spec && target_agents == current.target_agents {
                return Ok((current.as_ref().clone(), None));
            }
            let spec = Arc::new(spec);
            let current = current.as_ref().clone();
            VirtualHost { spec, target_agents, revision, updated_at: now, ..current }
        }
        Edit::Delete(if_match) => {
            let current = find(snapshot, id, if_match)?;
            return Ok((current.as_ref().clone(), Some(GatewayWrite::DeleteVirtualHost(id))));
        }
    };
    let write = GatewayWrite::PutVirtualHost(Arc::new(after.clone()));
    Ok((after, Some(write)))
}

fn find<'a>(
    snapshot: &'a Snapshot,
    id: VirtualHostId,
    if_match: &IfMatch,
) -> Result<&'a Arc<VirtualHost>> {
    let found = snapshot.virtual_hosts().get(&id);
    let found = found.ok_or_else(|| Error::not_found("virtual host", id))?;
    if_match.check(&found.etag())?;
    Ok(found)
}

/// What a patch is applied to. A new type of target starts from nothing: the
/// fields of the old one do not go with it.
fn body_of(host: &VirtualHost, patch: &MergePatch) -> NewVirtualHost {
    let target = if patch.names_within("target_agents", "type") {
        TargetAgents::All
    } else {
        host.target_agents.clone()
    };
    NewVirtualHost::from_parts(host.spec.as_ref().clone(), target)
}
