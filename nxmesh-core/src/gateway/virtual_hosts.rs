use std::sync::Arc;

use crate::{
    Actor, Error, FieldCode, IfMatch, MergePatch, Page, PageRequest, Path, Problems, Result,
    RevisionNumber,
    clock::new_id,
    gateway::{
        GatewayWrite, LocationTarget, NewVirtualHost, Snapshot, TargetAgents, VirtualHost,
        VirtualHostId, VirtualHostSpec, conflict,
        context::{Context, Decision},
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
        self.context.store.virtual_hosts(of, page).await
    }

    /// One virtual host.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: VirtualHostId) -> Result<VirtualHost> {
        self.held(actor, id, Permission::Read).await
    }

    async fn held(
        &self,
        actor: &Actor,
        id: VirtualHostId,
        permission: Permission,
    ) -> Result<VirtualHost> {
        let missing = || Error::not_found("virtual host", id);
        let host = self.context.store.virtual_host(id).await?.ok_or_else(missing)?;
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
        let (spec, target_agents) = new.parse()?;
        let spec = Arc::new(spec);
        let id = new_id(self.context.clock.as_ref());
        let now = self.context.clock.now();
        let decide = |snapshot: &Snapshot| {
            check_references(snapshot, &spec)?;
            let host = VirtualHost {
                id,
                workspace_id: of,
                spec: Arc::clone(&spec),
                target_agents: target_agents.clone(),
                revision: snapshot.revision().next(),
                created_at: now,
                updated_at: now,
            };
            Ok(put(host, "create"))
        };
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
        let decide = |snapshot: &Snapshot| {
            let current = find(snapshot, id)?;
            if_match.check(&current.etag())?;
            let (spec, target_agents) = patch.apply(&body_of(current, patch))?.parse()?;
            check_references(snapshot, &spec)?;
            if spec == *current.spec && target_agents == current.target_agents {
                return Ok(Decision::nothing(current.as_ref().clone()));
            }
            let revision = snapshot.revision().next();
            let spec = Arc::new(spec);
            let host = VirtualHost {
                spec,
                target_agents,
                revision,
                updated_at: now,
                ..current.as_ref().clone()
            };
            Ok(put(host, "update"))
        };
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
        let decide = |snapshot: &Snapshot| {
            let current = find(snapshot, id)?;
            if_match.check(&current.etag())?;
            let reason = format!("delete virtual host {}", current.spec.name);
            Ok(Decision::write(
                snapshot.revision().next(),
                reason,
                vec![GatewayWrite::DeleteVirtualHost(id)],
            ))
        };
        self.context.change(actor, workspace, decide).await
    }
}

fn find(snapshot: &Snapshot, id: VirtualHostId) -> Result<&Arc<VirtualHost>> {
    snapshot.virtual_hosts().get(&id).ok_or_else(|| Error::not_found("virtual host", id))
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

fn put(host: VirtualHost, verb: &str) -> Decision<VirtualHost> {
    let id = host.id;
    let reason = format!("{verb} virtual host {}", host.spec.name);
    let writes = vec![GatewayWrite::PutVirtualHost(Arc::new(host.clone()))];
    Decision::write(host, reason, writes).provided(move |after| conflict::check_host(after, id))
}

/// Refuses what names upstreams or certificates that the workspace does not have.
fn check_references(snapshot: &Snapshot, spec: &VirtualHostSpec) -> Result<()> {
    let root = Path::root();
    let mut problems = Problems::default();
    if let Some(id) = spec.ssl_certificate_id {
        let message = format!("the workspace has no certificate with the id {id}");
        problems.add(&root.field("ssl_certificate_id"), FieldCode::NotFound, message);
    }
    let locations = root.field("locations");
    for (at, location) in spec.locations.iter().enumerate() {
        let LocationTarget::Upstream(id) = &location.target else { continue };
        if !snapshot.upstreams().contains_key(id) {
            let message = format!("the workspace has no upstream with the id {id}");
            problems.add(&locations.index(at).field("upstream_id"), FieldCode::NotFound, message);
        }
    }
    problems.finish(())
}
