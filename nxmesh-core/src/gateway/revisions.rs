use std::sync::Arc;

use crate::{
    Actor, Error, ErrorKind, Page, PageRequest, Result, Revision, RevisionNumber,
    gateway::{
        GatewayWrite, RevisionDiff, RevisionState, Snapshot, Upstream, VirtualHost, conflict,
        context::{Context, Decision},
    },
    tenancy::{Permission, WorkspaceId},
};

/// What a workspace was: `mesh.gateway().revisions()`.
#[derive(Debug, Clone)]
pub struct Revisions {
    context: Context,
}

impl Revisions {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of a workspace, oldest first.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace.
    pub async fn list(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        page: PageRequest,
    ) -> Result<Page<Revision>> {
        self.context.check(actor, of, Permission::Read).await?;
        self.context.store.revisions(of, page).await
    }

    /// A workspace as it was at a revision.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace or revision, or it is
    /// no longer kept.
    pub async fn get(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        number: RevisionNumber,
    ) -> Result<RevisionState> {
        self.context.check(actor, of, Permission::Read).await?;
        let state = self.state(of, number).await?;
        let Some(revision) = self.context.store.revision(of, number).await? else {
            return Err(self.missing(of, number).await?);
        };
        Ok(RevisionState {
            revision,
            settings: state.settings().as_ref().clone(),
            virtual_hosts: plain(state.virtual_hosts().values()),
            upstreams: plain(state.upstreams().values()),
            agents: plain(state.agents().values()),
        })
    }

    /// What changed between two revisions: by object, and as text of nginx. Revision 0 is the
    /// empty workspace, before its settings.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace or revision, or it is
    /// no longer kept; [`Unavailable`](crate::ErrorKind::Unavailable) when too much is being rendered
    /// for others.
    pub async fn diff(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        from: RevisionNumber,
        to: RevisionNumber,
    ) -> Result<RevisionDiff> {
        self.context.check(actor, of, Permission::Read).await?;
        let (before, after) = (self.state(of, from).await?, self.state(of, to).await?);
        self.context.aside.run(move || RevisionDiff::of(&before, &after)).await
    }

    /// Brings virtual hosts, upstreams and settings back to what they were, as the workspace's
    /// next revision; makes none when they are so already. Agents, and what was never in a
    /// revision, stay, and so does how changes are delivered. Where the settings were others this
    /// needs the permission to write workspaces.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace or revision, or it is
    /// no longer kept,
    /// [`Forbidden`](crate::ErrorKind::Forbidden), [`Conflict`](crate::ErrorKind::Conflict) when
    /// two virtual hosts would meet on an agent that was not there then.
    pub async fn restore(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        number: RevisionNumber,
    ) -> Result<RevisionNumber> {
        self.context.check(actor, of, Permission::WriteServed).await?;
        let may_settings = match self.context.check(actor, of, Permission::WriteWorkspaces).await {
            Err(error) if error.kind() != ErrorKind::Forbidden => return Err(error),
            checked => checked,
        };
        let then = self.state(of, number).await?;
        // That nothing is left to do can be said only of what there is now.
        self.context.snapshots.newest(of).await?;
        let now = self.context.clock.now();
        let decide = |current: &Snapshot| {
            let next = current.revision().next();
            let mut writes = Vec::new();
            let settings = then.settings().delivered_as(current.settings());
            if settings != **current.settings() {
                if let Err(error) = &may_settings {
                    let message = format!("the settings were others at revision {number}: {error}");
                    return Err(Error::new(error.kind(), message));
                }
                writes.push(GatewayWrite::PutSettings(Arc::new(settings)));
            }
            for (id, upstream) in then.upstreams() {
                if current.upstreams().get(id).is_none_or(|it| it.spec != upstream.spec) {
                    let upstream = upstream.as_ref().clone();
                    let upstream = Upstream { revision: next, updated_at: now, ..upstream };
                    writes.push(GatewayWrite::PutUpstream(Arc::new(upstream)));
                }
            }
            for (id, host) in then.virtual_hosts() {
                let same = |it: &Arc<VirtualHost>| {
                    it.spec == host.spec && it.target_agents == host.target_agents
                };
                if !current.virtual_hosts().get(id).is_some_and(same) {
                    let host = host.as_ref().clone();
                    let host = VirtualHost { revision: next, updated_at: now, ..host };
                    writes.push(GatewayWrite::PutVirtualHost(Arc::new(host)));
                }
            }
            let gone = current.virtual_hosts().keys();
            let gone = gone.filter(|id| !then.virtual_hosts().contains_key(id));
            writes.extend(gone.copied().map(GatewayWrite::DeleteVirtualHost));
            let gone = current.upstreams().keys();
            let gone = gone.filter(|id| !then.upstreams().contains_key(id));
            writes.extend(gone.copied().map(GatewayWrite::DeleteUpstream));
            if writes.is_empty() {
                return Ok(Decision::nothing(current.revision()));
            }
            let reason = format!("restore revision {number}");
            Ok(Decision::write(next, reason, writes).provided(|after| {
                let agents = after.agents().values();
                agents.into_iter().try_for_each(|it| conflict::check_agent(after, it))
            }))
        };
        self.context.change(actor, of, decide).await
    }

    async fn state(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Snapshot> {
        if number > RevisionNumber::MAX {
            return Err(Error::not_found("revision", number));
        }
        match self.context.store.state_at(of, number).await? {
            Some(state) => Ok(state),
            None => Err(self.missing(of, number).await?),
        }
    }

    /// Why there is no such revision.
    async fn missing(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Error> {
        let kept = self.context.store.revisions(of, PageRequest::new(1, 1)?).await?;
        let oldest = kept.data.first().map(|it| it.number);
        Ok(match oldest.filter(|oldest| (RevisionNumber(1)..*oldest).contains(&number)) {
            Some(oldest) => {
                let message = format!(
                    "revision {number} is no longer kept: the oldest that is kept is {oldest}"
                );
                Error::new(ErrorKind::NotFound, message)
            }
            None => Error::not_found("revision", number),
        })
    }
}

fn plain<'a, T: Clone + 'a>(of: impl Iterator<Item = &'a Arc<T>>) -> Vec<T> {
    of.map(|it| it.as_ref().clone()).collect()
}
