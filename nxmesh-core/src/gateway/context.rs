use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    Actor, Clock, Error, ErrorKind, Result, Revision, Tasks,
    gateway::{
        GatewayChange, GatewayStore, GatewayWrite, Snapshot, fleet::Fleet, snapshots::Snapshots,
        store::AgentSecret,
    },
    tenancy::{Tenancy, WorkspaceId},
};

/// How often a change that another server overtook is decided anew before the caller is told.
const MAX_ATTEMPTS: usize = 16;

/// What all operations of the area stand on.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) store: Arc<dyn GatewayStore>,
    pub(crate) tenancy: Tenancy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Tasks,
    pub(crate) snapshots: Snapshots,
    pub(crate) fleet: Fleet,
    pub(crate) heartbeat_interval: Duration,
}

impl Context {
    /// Since when an agent must have been heard of not to count as gone.
    pub(crate) fn alive_since(&self) -> DateTime<Utc> {
        self.clock.now() - self.heartbeat_interval * 3
    }

    /// Fails with `NotFound` unless the actor may see the workspace.
    pub(crate) async fn check_member(&self, actor: &Actor, id: WorkspaceId) -> Result<()> {
        self.tenancy.workspaces().get(actor, id).await.map(|_| ())
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
        let _turn = self.snapshots.turn(workspace).await?;
        for _ in 0..MAX_ATTEMPTS {
            let current = self.snapshots.get(workspace).await?;
            let base = current.snapshot.revision();
            let decision = decide(&current.snapshot)?;
            if decision.writes.is_empty() {
                return Ok(decision.answer);
            }
            let mut after = current.snapshot.clone();
            after.apply(base.next(), decision.writes.clone());
            (decision.check)(&after)?;
            let revision = Revision {
                workspace_id: workspace,
                number: base.next(),
                author: actor.user_id(),
                reason: decision.reason,
                created_at: self.clock.now(),
            };
            let change =
                GatewayChange { base, revision, writes: decision.writes, secret: decision.secret };
            match self.store.commit(change).await {
                Ok(()) => {
                    self.snapshots.publish(after);
                    return Ok(decision.answer);
                }
                Err(error) if error.kind() == ErrorKind::Stale => {
                    self.snapshots.refresh(workspace).await?
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the workspace changes too fast: try again"))
    }
}

/// Refuses what would come of a change.
type Check = Box<dyn Fn(&Snapshot) -> Result<()> + Send + Sync>;

/// What an operation wants to do to a snapshot.
pub(crate) struct Decision<T> {
    pub(crate) answer: T,
    pub(crate) reason: String,
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
        Self { answer, reason, writes, secret: None, check: Box::new(|_| Ok(())) }
    }

    /// Only if what comes of it is fine.
    pub(crate) fn provided(
        self,
        check: impl Fn(&Snapshot) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { check: Box::new(check), ..self }
    }
}
