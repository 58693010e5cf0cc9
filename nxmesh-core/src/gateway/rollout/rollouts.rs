use serde_json::json;

use crate::{
    Actor, Error, ErrorKind, FieldCode, Page, PageRequest, Path, Problems, Result, RevisionNumber,
    Trail,
    clock::new_id,
    gateway::{
        NewRollout, Rollout, RolloutId, RolloutState, Wave, WaveAgents, WaveFigures, WaveState,
        context::Context,
        project::Published,
        rollout::{self, RolloutPlan},
    },
    tenancy::{AuditedObject, OrganizationId, Permission, WorkspaceId},
    trail::Deed,
};

/// How often a change that another one overtook is tried anew before the caller is told.
const MAX_ATTEMPTS: usize = 16;

/// Revisions on their way to agents: `mesh.gateway().rollouts()`.
#[derive(Debug, Clone)]
pub struct Rollouts {
    context: Context,
}

impl Rollouts {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of a workspace, oldest first, with figures as of their last step. The last 100 are
    /// kept.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such workspace.
    pub async fn list(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        page: PageRequest,
    ) -> Result<Page<Rollout>> {
        self.context.check(actor, of, Permission::Read).await?;
        self.context.store.rollouts(of, page).await
    }

    /// One of them, with figures as they are now.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: RolloutId) -> Result<Rollout> {
        let found = self.found(actor, id, Permission::Read).await?;
        self.live(found).await
    }

    /// Begins to bring the agents of a workspace to a revision: those of the first wave at once.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such workspace,
    /// [`Forbidden`](ErrorKind::Forbidden), [`Invalid`](ErrorKind::Invalid), also when there is
    /// no such revision; [`Conflict`](ErrorKind::Conflict) while delivery is immediate, or
    /// another rollout is under way.
    pub async fn start(&self, actor: &Actor, of: WorkspaceId, new: NewRollout) -> Result<Rollout> {
        self.context.check(actor, of, Permission::WriteServed).await?;
        let plan = new.parse()?;
        for _ in 0..MAX_ATTEMPTS {
            let published = self.context.snapshots.newest(of).await?;
            let rollout = self.planned(actor, &published, &plan).await?;
            let fleet = rollout::fleet(&self.context, &published, &rollout).await?;
            let mut rollout = rollout;
            let now = rollout.created_at;
            let told = rollout::start(&mut rollout, &fleet, now);
            let organization = published.snapshot.organization_id();
            let mut trail = self.trail(actor, organization, "started", (None, &rollout));
            trail.events.extend(rollout::events(&rollout, organization, &told, now));
            if self.context.store.put_rollout(&rollout, trail).await? {
                self.seen(of).await;
                return Ok(rollout);
            }
        }
        Err(busy())
    }

    /// Takes a rollout no further until it is resumed. Nobody is taken back.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden),
    /// [`Conflict`](ErrorKind::Conflict) when it is not running.
    pub async fn pause(&self, actor: &Actor, id: RolloutId) -> Result<Rollout> {
        self.change(actor, id, "paused", |it| {
            if it.state != RolloutState::Running {
                return Err(wrong(it.state, "only one that is running can be paused"));
            }
            it.pause();
            Ok(())
        })
        .await
    }

    /// Takes a rollout further that was paused.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden),
    /// [`Conflict`](ErrorKind::Conflict) when it is not paused.
    pub async fn resume(&self, actor: &Actor, id: RolloutId) -> Result<Rollout> {
        self.change(actor, id, "resumed", |it| {
            if it.state != RolloutState::Paused {
                return Err(wrong(it.state, "only one that is paused can be resumed"));
            }
            it.state = RolloutState::Running;
            Ok(())
        })
        .await
    }

    /// Ends a rollout: its agents go back to what was released before.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden),
    /// [`Conflict`](ErrorKind::Conflict) when it is over.
    pub async fn abort(&self, actor: &Actor, id: RolloutId) -> Result<Rollout> {
        let now = self.context.clock.now();
        self.change(actor, id, "aborted", |it| {
            if !it.state.is_under_way() {
                return Err(wrong(it.state, "it is over already"));
            }
            let reason = "somebody ended it".to_owned();
            rollout::take_back(it, RolloutState::Aborted, reason, now);
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        actor: &Actor,
        id: RolloutId,
        verb: &str,
        change: impl Fn(&mut Rollout) -> Result<()> + Send + Sync,
    ) -> Result<Rollout> {
        for _ in 0..MAX_ATTEMPTS {
            let before = self.found(actor, id, Permission::WriteServed).await?;
            let of = before.workspace_id;
            let mut after = self.live(before.clone()).await?;
            change(&mut after)?;
            let after = after.next_version(self.context.clock.now());
            let published = self.context.snapshots.get(of).await?;
            let organization = published.snapshot.organization_id();
            let trail = self.trail(actor, organization, verb, (Some(&before), &after));
            if self.context.store.put_rollout(&after, trail).await? {
                self.seen(of).await;
                return Ok(after);
            }
        }
        Err(busy())
    }

    /// A rollout that is not started yet, if there may be one.
    async fn planned(
        &self,
        actor: &Actor,
        published: &Published,
        plan: &RolloutPlan,
    ) -> Result<Rollout> {
        let snapshot = &published.snapshot;
        let of = snapshot.workspace_id();
        let record = self.context.store.delivery(of).await?;
        let record = record.ok_or_else(|| Error::not_found("workspace", of))?;
        let (Some(staged_since), Some(released)) = (record.staged_since, record.released()) else {
            return Err(Error::new(ErrorKind::Conflict, IMMEDIATE));
        };
        if let Some(other) = &record.under_way {
            let message = format!(
                "rollout {} of this workspace is under way: wait until it is over, or abort it",
                other.id
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let RolloutPlan { revision, waves, gates, message } = plan.clone();
        let revision = self.kept(of, revision, snapshot.revision()).await?;
        let now = self.context.clock.now();
        let wave = |(which, soak_seconds)| Wave {
            which,
            soak_seconds,
            state: WaveState::Waiting,
            members: None,
            started_at: None,
            soaking_since: None,
            waiting_since: None,
            finished_at: None,
            figures: WaveFigures::default(),
        };
        let waves = waves.into_iter().chain([(WaveAgents::Rest, 0)]).map(wave).collect();
        Ok(Rollout {
            id: new_id(self.context.clock.as_ref()),
            workspace_id: of,
            revision,
            released,
            staged_since,
            message,
            state: RolloutState::Running,
            reason: None,
            waves,
            gates,
            started_by: actor.user_id(),
            version: 1,
            created_at: now,
            updated_at: now,
            ended_at: None,
        })
    }

    /// The revision that is meant, if it is there.
    async fn kept(
        &self,
        of: WorkspaceId,
        revision: Option<RevisionNumber>,
        head: RevisionNumber,
    ) -> Result<RevisionNumber> {
        let Some(revision) = revision else { return Ok(head) };
        let known = revision <= head && revision.0 > 0;
        if known && self.context.store.revision(of, revision).await?.is_some() {
            return Ok(revision);
        }
        let message = match known {
            true => "is no longer kept".to_owned(),
            false => format!("there is no such revision; the newest is {head}"),
        };
        let mut problems = Problems::default();
        problems.add(&Path::root().field("revision"), FieldCode::NotFound, message);
        problems.finish(revision)
    }

    async fn found(&self, actor: &Actor, id: RolloutId, permission: Permission) -> Result<Rollout> {
        let missing = || Error::not_found("rollout", id);
        let rollout = self.context.store.rollout(id).await?.ok_or_else(missing)?;
        let checked = self.context.check(actor, rollout.workspace_id, permission).await;
        checked.map_err(|error| error.or_missing(missing))?;
        Ok(rollout)
    }

    async fn live(&self, rollout: Rollout) -> Result<Rollout> {
        if !rollout.state.is_under_way() {
            return Ok(rollout);
        }
        let published = self.context.snapshots.newest(rollout.workspace_id).await?;
        let fleet = rollout::fleet(&self.context, &published, &rollout).await?;
        Ok(rollout::live(&rollout, &fleet))
    }

    /// Has agents of this server see at once what was changed; others hear of it.
    async fn seen(&self, of: WorkspaceId) {
        if let Err(error) = self.context.snapshots.refresh(of).await {
            tracing::debug!(workspace_id = %of, %error, "cannot read how far a rollout is");
        }
    }

    fn trail(
        &self,
        actor: &Actor,
        organization_id: OrganizationId,
        verb: &str,
        (before, after): (Option<&Rollout>, &Rollout),
    ) -> Trail {
        let clock = self.context.clock.as_ref();
        let workspace_id = Some(after.workspace_id);
        let deed = Deed { actor, clock, at: clock.now(), organization_id, workspace_id };
        let mut trail = Trail::default();
        let object = AuditedObject::new("rollout", after.id);
        deed.note_as(&mut trail, object, verb, (before, Some(after)), rollout::about(after));
        trail
    }
}

const IMMEDIATE: &str = "delivery of this workspace is immediate: agents get every change at \
     once, and there is nothing to roll out; set its settings.delivery to staged first";

fn wrong(state: RolloutState, rule: &str) -> Error {
    let state = json!(state);
    let state = state.as_str().unwrap_or_default();
    Error::new(ErrorKind::Conflict, format!("the rollout is {state}: {rule}"))
}

fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "the rollouts of the workspace change too fast: try again")
}
