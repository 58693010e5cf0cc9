use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    Actor, Error, IfMatch, MergePatch, Page, PageRequest, Result, RevisionNumber,
    clock::new_id,
    gateway::{
        AgentFilter, AgentRecord, GatewayWrite, NewUpstream, Snapshot, Upstream, UpstreamId,
        UpstreamSpec,
        change_set::Edit,
        checks::UpstreamHealth,
        conflict,
        context::{Context, Decision, Shared},
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace.
    pub async fn list(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        page: PageRequest,
    ) -> Result<Page<Upstream>> {
        self.context.check(actor, of, Permission::Read).await?;
        let Shared { store, at_hand, .. } = self.context.as_ref();
        let read = async { store.upstreams(of, page).await.map(Some) };
        let found = at_hand.upstream_pages.get(store.changes(), (of, page), read).await?;
        found.ok_or_else(|| Error::not_found("workspace", of))
    }

    /// One upstream.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: UpstreamId) -> Result<Upstream> {
        self.held(actor, id, Permission::Read).await
    }

    /// How its servers are, as the agents that have it find them.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn health(&self, actor: &Actor, id: UpstreamId) -> Result<UpstreamHealth> {
        let upstream = self.held(actor, id, Permission::Read).await?;
        let workspace = upstream.workspace_id;
        let published = self.context.snapshots.newest(workspace).await?;
        let alive_since = self.context.alive_since();
        let all = AgentFilter { state: None, label_selector: None, alive_since };
        let has = |agent: &&AgentRecord| {
            let update = published.update_for(agent.spec.id);
            update.is_some_and(|it| it.projection.upstreams.contains_key(&id))
        };
        let mut health = UpstreamHealth::unknown(&upstream.spec);
        // A page at a time: what all agents of a large fleet tell is much to hold at once.
        for number in 1.. {
            let page = PageRequest::new(number, PageRequest::MAX_PER_PAGE)?;
            let agents = self.context.store.agents(workspace, &all, page).await?.data;
            if agents.is_empty() {
                break;
            }
            agents.iter().filter(has).for_each(|it| health.note(id, it, alive_since));
        }
        Ok(health)
    }

    /// The upstream, if the actor may do this there. It says which workspace it is in; what is
    /// changed there is decided on a snapshot.
    async fn held(
        &self,
        actor: &Actor,
        id: UpstreamId,
        permission: Permission,
    ) -> Result<Upstream> {
        let missing = || Error::not_found("upstream", id);
        let Shared { store, at_hand, .. } = self.context.as_ref();
        let found = at_hand.upstreams.get(store.changes(), id, store.upstream(id)).await?;
        let upstream = found.ok_or_else(missing)?;
        self.context
            .check(actor, upstream.workspace_id, permission)
            .await
            .map_err(|error| error.or_missing(missing))?;
        Ok(upstream)
    }

    /// Makes an upstream, as the workspace's next revision.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace,
    /// [`Invalid`](crate::ErrorKind::Invalid).
    pub async fn create(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewUpstream,
    ) -> Result<Upstream> {
        self.context.check(actor, of, Permission::WriteServed).await?;
        let edit = Edit::Create(Arc::new(new.parse()?));
        let id = new_id(self.context.clock.as_ref());
        let now = self.context.clock.now();
        let decide = |snapshot: &Snapshot| decision(snapshot, id, &edit, now);
        self.context.change(actor, of, decide).await
    }

    /// Changes an upstream, as the workspace's next revision; a patch that changes
    /// nothing makes none.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Invalid`](crate::ErrorKind::Invalid),
    /// [`Precondition`](crate::ErrorKind::Precondition) when `if_match` names another state.
    pub async fn update(
        &self,
        actor: &Actor,
        id: UpstreamId,
        patch: &MergePatch,
        if_match: &IfMatch,
    ) -> Result<Upstream> {
        let workspace = self.held(actor, id, Permission::WriteServed).await?.workspace_id;
        let now = self.context.clock.now();
        let edit = Edit::Update(patch.clone(), if_match.clone());
        let decide = |snapshot: &Snapshot| decision(snapshot, id, &edit, now);
        self.context.change(actor, workspace, decide).await
    }

    /// Removes an upstream that no virtual host uses, as the workspace's next
    /// revision, which is answered.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Precondition`](crate::ErrorKind::Precondition),
    /// [`Conflict`](crate::ErrorKind::Conflict), naming the virtual hosts that use it.
    pub async fn delete(
        &self,
        actor: &Actor,
        id: UpstreamId,
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

fn decision(
    snapshot: &Snapshot,
    id: UpstreamId,
    edit: &Edit<Arc<UpstreamSpec>>,
    now: DateTime<Utc>,
) -> Result<Decision<Upstream>> {
    let (upstream, write) = edited(snapshot, id, edit, now)?;
    let reason = format!("{} upstream {}", edit.verb(), upstream.spec.name);
    let gone: Vec<_> = edit.removes().then_some(id).into_iter().collect();
    let decision = Decision::write(upstream, reason, write.into_iter().collect());
    Ok(decision.provided(move |after| conflict::check(after, &[], &gone)))
}

/// The upstream as this leaves it, or as it was removed; with nothing to write, when it is so
/// already. What comes of it is still to be checked.
pub(in crate::gateway) fn edited(
    snapshot: &Snapshot,
    id: UpstreamId,
    edit: &Edit<Arc<UpstreamSpec>>,
    now: DateTime<Utc>,
) -> Result<(Upstream, Option<GatewayWrite>)> {
    let revision = snapshot.revision().next();
    let after = match edit {
        Edit::Create(spec) => Upstream {
            id,
            workspace_id: snapshot.workspace_id(),
            spec: Arc::clone(spec),
            revision,
            created_at: now,
            updated_at: now,
        },
        Edit::Update(patch, if_match) => {
            let current = find(snapshot, id, if_match)?;
            let spec = patch.apply(&NewUpstream::from(current.spec.as_ref().clone()))?.parse()?;
            if spec == *current.spec {
                return Ok((current.as_ref().clone(), None));
            }
            let spec = Arc::new(spec);
            Upstream { spec, revision, updated_at: now, ..current.as_ref().clone() }
        }
        Edit::Delete(if_match) => {
            let current = find(snapshot, id, if_match)?;
            return Ok((current.as_ref().clone(), Some(GatewayWrite::DeleteUpstream(id))));
        }
    };
    let write = GatewayWrite::PutUpstream(Arc::new(after.clone()));
    Ok((after, Some(write)))
}

fn find<'a>(
    snapshot: &'a Snapshot,
    id: UpstreamId,
    if_match: &IfMatch,
) -> Result<&'a Arc<Upstream>> {
    let found = snapshot.upstreams().get(&id);
    let found = found.ok_or_else(|| Error::not_found("upstream", id))?;
    if_match.check(&found.etag())?;
    Ok(found)
}
