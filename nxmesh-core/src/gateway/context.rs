mod trail;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    Actor, Clock, Error, ErrorKind, Page, PageRequest, Result, Revision, Tasks,
    cache::Cache,
    events::Events,
    figures::Buckets,
    gateway::{
        GatewayStore, GatewayWrite, Snapshot, Step, Upstream, UpstreamId, VirtualHost,
        VirtualHostId,
        config::Aside,
        fleet::{Fleet, RecentCount},
        queue::{Pending, commit::commit_all},
        snapshots::Snapshots,
        store::AgentSecret,
    },
    tenancy::{Permission, Tenancy, WorkspaceId},
};

/// How often a change that another server overtook is decided anew before the caller is told.
const MAX_ATTEMPTS: usize = 16;

/// How many objects of a kind are at hand at most.
const MAX_OBJECTS: usize = 4096;
/// How many pages of lists of a kind are.
const MAX_PAGES: usize = 64;

/// What all operations of the area stand on: each call has a handle of its own, so a copy costs
/// next to nothing.
pub(crate) type Context = Arc<Shared>;

/// See [`Context`].
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn GatewayStore>,
    pub(crate) tenancy: Tenancy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Tasks,
    pub(crate) snapshots: Snapshots,
    pub(crate) fleet: Fleet,
    pub(crate) at_hand: AtHand,
    pub(crate) agent_count: RecentCount,
    /// How many changes were committed together.
    pub(crate) commits: Arc<Buckets>,
    pub(crate) events: Events,
    pub(in crate::gateway) aside: Aside,
    pub(crate) heartbeat_interval: Duration,
}

/// What most calls ask for.
#[derive(Debug)]
pub(crate) struct AtHand {
    pub(crate) virtual_hosts: Cache<VirtualHostId, VirtualHost>,
    pub(crate) upstreams: Cache<UpstreamId, Upstream>,
    pub(crate) virtual_host_pages: Cache<(WorkspaceId, PageRequest), Page<VirtualHost>>,
    pub(crate) upstream_pages: Cache<(WorkspaceId, PageRequest), Page<Upstream>>,
}

impl Default for AtHand {
    fn default() -> Self {
        Self {
            virtual_hosts: Cache::new(MAX_OBJECTS),
            upstreams: Cache::new(MAX_OBJECTS),
            virtual_host_pages: Cache::new(MAX_PAGES),
            upstream_pages: Cache::new(MAX_PAGES),
        }
    }
}

impl Shared {
    /// Since when an agent must have been heard of not to count as gone.
    pub(crate) fn alive_since(&self) -> DateTime<Utc> {
        self.clock.now() - self.heartbeat_interval * 3
    }

    /// Fails with `NotFound` unless the actor may see the workspace, and with `Forbidden`
    /// unless they may do this there.
    pub(crate) async fn check(
        &self,
        actor: &Actor,
        id: WorkspaceId,
        permission: Permission,
    ) -> Result<()> {
        self.tenancy.workspaces().seen(actor, id, permission).await.map(|_| ())
    }

    /// Decides on the newest snapshot, commits, and announces; decides anew when
    /// someone else was faster.
    pub(crate) async fn change<T>(
        &self,
        actor: &Actor,
        workspace: WorkspaceId,
        decide: impl Fn(&Snapshot) -> Result<Decision<T>> + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
    {
        for _ in 0..MAX_ATTEMPTS {
            let (answer, pending) = self.decide(actor, workspace, &decide).await?;
            let Some(pending) = pending else { return answer };
            match pending.committed().await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done.and(answer),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the workspace changes too fast: try again"))
    }

    /// Decides one change, and sends it on its way. What is refused, or needs nothing done,
    /// waits too if what it stands on is not committed yet.
    async fn decide<T>(
        &self,
        actor: &Actor,
        workspace: WorkspaceId,
        decide: &(impl Fn(&Snapshot) -> Result<Decision<T>> + Send + Sync),
    ) -> Result<(Result<T>, Option<Pending>)>
    where
        T: Send,
    {
        let turn = self.snapshots.turn(workspace).await?;
        let tip = turn.tip();
        let settled = tip.is_none();
        let current = match tip {
            Some(tip) => tip,
            None => Arc::clone(&self.snapshots.get(workspace).await?.snapshot),
        };
        let base = current.revision();
        let (answer, step, after) = match self.step(actor, &current, decide) {
            Ok((answer, Some((step, after)))) => (Ok(answer), Some(step), Arc::new(after)),
            Ok((answer, None)) => (Ok(answer), None, current),
            Err(error) => (Err(error), None, current),
        };
        if step.is_none() && settled {
            return Ok((answer, None));
        }
        let (pending, commits) = turn.push(base, step, after)?;
        if let Some(commits) = commits {
            // It goes on even if the caller goes away.
            let (store, snapshots) = (Arc::clone(&self.store), self.snapshots.clone());
            self.tasks.spawn(commit_all(commits, store, snapshots, Arc::clone(&self.commits)));
        }
        Ok((answer, Some(pending)))
    }

    /// What a decision comes to on a snapshot, and what the snapshot is after it.
    pub(crate) fn step<T>(
        &self,
        actor: &Actor,
        current: &Snapshot,
        decide: &impl Fn(&Snapshot) -> Result<Decision<T>>,
    ) -> Result<(T, Option<(Step, Snapshot)>)> {
        let Decision { answer, reason, at, writes, secret, check } = decide(current)?;
        if writes.is_empty() {
            return Ok((answer, None));
        }
        let number = current.revision().next();
        let trail = trail::of(actor, self.clock.as_ref(), current, &writes);
        let mut after = current.clone();
        after.apply(number, writes.clone());
        check(&after)?;
        let revision = Revision {
            workspace_id: current.workspace_id(),
            number,
            author: actor.user_id(),
            reason,
            created_at: at.unwrap_or_else(|| self.clock.now()),
        };
        Ok((answer, Some((Step { revision, writes, secret, trail }, after))))
    }
}

/// Refuses what would come of a change.
type Check = Box<dyn Fn(&Snapshot) -> Result<()> + Send + Sync>;

/// What an operation wants to do to a snapshot.
pub(crate) struct Decision<T> {
    pub(crate) answer: T,
    pub(crate) reason: String,
    /// When the revision is made; `None` is when it is decided.
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) writes: Vec<GatewayWrite>,
    pub(crate) secret: Option<AgentSecret>,
    pub(crate) check: Check,
}

impl<T> Decision<T> {
    /// Nothing is to be done.
    pub(crate) fn nothing(answer: T) -> Self {
        Self { writes: Vec::new(), ..Self::write(answer, String::new(), Vec::new()) }
    }

    /// These writes, for this reason.
    pub(crate) fn write(answer: T, reason: String, writes: Vec<GatewayWrite>) -> Self {
        Self { answer, reason, at: None, writes, secret: None, check: Box::new(|_| Ok(())) }
    }

    /// The same with another answer.
    pub(crate) fn answering<U>(self, answer: impl FnOnce(T) -> U) -> Decision<U> {
        let Self { answer: old, reason, at, writes, secret, check } = self;
        Decision { answer: answer(old), reason, at, writes, secret, check }
    }

    /// Only if what comes of it is fine.
    pub(crate) fn provided(
        self,
        check: impl Fn(&Snapshot) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { check: Box::new(check), ..self }
    }
}
