use std::sync::Arc;

use crate::{
    Actor, Error, ErrorKind, IfMatch, MergePatch, Page, PageRequest, Result, RevisionNumber,
    clock::new_id,
    gateway::{
        GatewayWrite, NewUpstream, Snapshot, Upstream, UpstreamId,
        context::{Context, Decision},
        project::users_of,
    },
    tenancy::{Permission, WorkspaceId},
};

/// What stands behind virtual hosts: `mesh.gateway().upstreams()`.
///
/// Every call shows an actor only what belongs to their organizations; anything
/// else is `NotFound`.
#[derive(Debug, Clone)]
pub struct Upstreams {
    context: Context,
}

impl Upstreams {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of a workspace, in order of creation.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such workspace.
    pub async fn list(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        page: PageRequest,
    ) -> Result<Page<Upstream>> {
        self.context.check(actor, of, Permission::Read).await?;
        self.context.store.upstreams(of, page).await
    }

    /// One upstream.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: UpstreamId) -> Result<Upstream> {
        self.held(actor, id, Permission::Read).await
    }

    async fn held(
        &self,
        actor: &Actor,
        id: UpstreamId,
        permission: Permission,
    ) -> Result<Upstream> {
        let missing = || Error::not_found("upstream", id);
        let upstream = self.context.store.upstream(id).await?.ok_or_else(missing)?;
        self.context
            .check(actor, upstream.workspace_id, permission)
            .await
            .map_err(|error| error.or_missing(missing))?;
        Ok(upstream)
    }

    /// Makes an upstream, as the workspace's next revision.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such workspace,
    /// [`Invalid`](ErrorKind::Invalid).
    pub async fn create(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewUpstream,
    ) -> Result<Upstream> {
        self.context.check(actor, of, Permission::WriteServed).await?;
        let spec = Arc::new(new.parse()?);
        let id = new_id(self.context.clock.as_ref());
        let now = self.context.clock.now();
        let decide = |snapshot: &Snapshot| {
            let upstream = Upstream {
                id,
                workspace_id: of,
                spec: Arc::clone(&spec),
                revision: snapshot.revision().next(),
                created_at: now,
                updated_at: now,
            };
            Ok(put(upstream, "create"))
        };
        self.context.change(actor, of, decide).await
    }

    /// Changes an upstream, as the workspace's next revision; a patch that changes
    /// nothing makes none.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Invalid`](ErrorKind::Invalid),
    /// [`Precondition`](ErrorKind::Precondition) when `if_match` names another state.
    pub async fn update(
        &self,
        actor: &Actor,
        id: UpstreamId,
        patch: &MergePatch,
        if_match: &IfMatch,
    ) -> Result<Upstream> {
        let workspace = self.held(actor, id, Permission::WriteServed).await?.workspace_id;
        let now = self.context.clock.now();
        let decide = |snapshot: &Snapshot| {
            let current = find(snapshot, id)?;
            if_match.check(&current.etag())?;
            let spec = patch.apply(&NewUpstream::from(current.spec.as_ref().clone()))?.parse()?;
            if spec == *current.spec {
                return Ok(Decision::nothing(current.as_ref().clone()));
            }
            let revision = snapshot.revision().next();
            let spec = Arc::new(spec);
            Ok(put(
                Upstream { spec, revision, updated_at: now, ..current.as_ref().clone() },
                "update",
            ))
        };
        self.context.change(actor, workspace, decide).await
    }

    /// Removes an upstream that no virtual host uses, as the workspace's next
    /// revision, which is answered.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Precondition`](ErrorKind::Precondition),
    /// [`Conflict`](ErrorKind::Conflict), naming the virtual hosts that use it.
    pub async fn delete(
        &self,
        actor: &Actor,
        id: UpstreamId,
        if_match: &IfMatch,
    ) -> Result<RevisionNumber> {
        let workspace = self.held(actor, id, Permission::WriteServed).await?.workspace_id;
        let decide = |snapshot: &Snapshot| {
            let current = find(snapshot, id)?;
            if_match.check(&current.etag())?;
            let users = users_of(snapshot, id);
            if !users.is_empty() {
                let message = format!("the upstream is in use by {}", users.join(", "));
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            let reason = format!("delete upstream {}", current.spec.name);
            Ok(Decision::write(
                snapshot.revision().next(),
                reason,
                vec![GatewayWrite::DeleteUpstream(id)],
            ))
        };
        self.context.change(actor, workspace, decide).await
    }
}

fn find(snapshot: &Snapshot, id: UpstreamId) -> Result<&Arc<Upstream>> {
    snapshot.upstreams().get(&id).ok_or_else(|| Error::not_found("upstream", id))
}

fn put(upstream: Upstream, verb: &str) -> Decision<Upstream> {
    let reason = format!("{verb} upstream {}", upstream.spec.name);
    let writes = vec![GatewayWrite::PutUpstream(Arc::new(upstream.clone()))];
    Decision::write(upstream, reason, writes)
}
