use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    Actor, Error, ErrorKind, FieldCode, Id, PageRequest, Path, Problems, Result, Revision,
    clock::new_id,
    gateway::{
        AgentFilter, AgentId, AppliedChange, AppliedChanges, ChangeAction, ChangePreview,
        GatewayWrite, NewChangeSet, ObjectChange, ServedKind, Snapshot, UpstreamId, VirtualHostId,
        change_set::{self, Change, ChangeSet, ServedEdit},
        config::{self, Facts},
        conflict::{self, Refusal},
        context::{Context, Decision},
        project::Published,
        upstream::upstreams,
        virtual_host::virtual_hosts,
    },
    tenancy::{Permission, WorkspaceId},
};

/// Several changes as one: `mesh.gateway().changes()`.
#[derive(Debug, Clone)]
pub struct Changes {
    context: Context,
}

/// What a set comes to on a snapshot: the objects, and the revision if there is one.
type Outcome = (Vec<AppliedChange>, Option<Revision>);

impl Changes {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Makes all changes of a set, or none, as the workspace's next revision, whose reason is
    /// the message of the set. When all is so already, it makes no revision.
    ///
    /// What is checked is what comes of the whole set: virtual hosts may use upstreams that it
    /// creates, an upstream may go when the set takes it out of all virtual hosts, two virtual
    /// hosts may swap names.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such workspace,
    /// [`Forbidden`](ErrorKind::Forbidden), and, naming fields as `changes[3].body.name`:
    /// [`Invalid`](ErrorKind::Invalid), also when an object is not there;
    /// [`Precondition`](ErrorKind::Precondition) when an `if_match` names another state;
    /// [`Conflict`](ErrorKind::Conflict) when an upstream that goes is in use, or virtual hosts
    /// would meet on one agent with the same port and name.
    pub async fn apply(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewChangeSet,
    ) -> Result<AppliedChanges> {
        self.context.check(actor, of, Permission::WriteServed).await?;
        let set = self.parse(new)?;
        let now = self.context.clock.now();
        let decide = |snapshot: &Snapshot| decide(&set, snapshot, actor, now);
        let (changes, revision) = self.context.change(actor, of, decide).await?;
        let revision = match revision {
            Some(revision) => revision,
            None => self.newest(of).await?,
        };
        Ok(AppliedChanges { revision, changes })
    }

    /// What [`apply`](Self::apply) would do now, for whoever may do it. Nothing is changed.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), and [`Unavailable`](ErrorKind::Unavailable) when too much is
    /// being rendered for others.
    pub async fn dry_run(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewChangeSet,
    ) -> Result<ChangePreview> {
        self.foresee(actor, of, new, Permission::WriteServed).await
    }

    /// The same, also for those who may only read: what somebody else would do.
    ///
    /// # Errors
    /// As [`dry_run`](Self::dry_run), but it forbids nobody who may read.
    pub async fn preview(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewChangeSet,
    ) -> Result<ChangePreview> {
        self.foresee(actor, of, new, Permission::Read).await
    }

    async fn foresee(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewChangeSet,
        permission: Permission,
    ) -> Result<ChangePreview> {
        self.context.check(actor, of, permission).await?;
        let set = self.parse(new)?;
        let now = self.context.clock.now();
        let before = self.context.snapshots.newest(of).await?;
        let current = &before.snapshot;
        let base = current.revision();
        let decide = |snapshot: &Snapshot| decide(&set, snapshot, actor, now);
        let ((changes, _), step) = self.context.step(actor, current, &decide)?;
        let objects = changes.iter().map(|change| object_change(current, change)).collect();
        let delivery = current.settings().delivery;
        let Some((_, after)) = step else {
            return Ok(ChangePreview { base, delivery, objects, ..ChangePreview::default() });
        };
        let facts = self.facts(of).await?;
        let newest = Published::new(Arc::clone(current));
        let compare = move || {
            let after = Published::new(Arc::new(after));
            change_set::agent_diffs(&newest, &after, &facts)
        };
        let (agents, further_agent_ids) = self.context.aside.run(compare).await?;
        Ok(ChangePreview { base, delivery, objects, agents, further_agent_ids })
    }

    fn parse(&self, new: NewChangeSet) -> Result<ChangeSet> {
        new.parse(|| *new_id::<()>(self.context.clock.as_ref()).as_uuid())
    }

    /// What is known of each agent's nginx.
    async fn facts(&self, of: WorkspaceId) -> Result<HashMap<AgentId, Facts>> {
        let alive_since = self.context.alive_since();
        let all = AgentFilter { state: None, label_selector: None, alive_since };
        let agents = self.context.store.agents(of, &all, PageRequest::whole()).await?;
        Ok(agents.data.into_iter().map(|it| (it.spec.id, Facts::of(&it.status))).collect())
    }

    async fn newest(&self, of: WorkspaceId) -> Result<Revision> {
        let head = self.context.snapshots.get(of).await?.snapshot.revision();
        let missing = || Error::not_found("revision", head);
        self.context.store.revision(of, head).await?.ok_or_else(missing)
    }
}

fn decide(
    set: &ChangeSet,
    snapshot: &Snapshot,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Decision<Outcome>> {
    let (mut changes, mut writes) = (Vec::new(), Vec::new());
    let (mut problems, mut stale) = (Problems::default(), Problems::default());
    let root = Path::root();
    let root = root.field("changes");
    for (index, change) in set.changes.iter().enumerate() {
        let at = root.index(index);
        let error = match edited(change, snapshot, now) {
            Ok((change, write)) => {
                changes.push(change);
                writes.extend(write);
                continue;
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Invalid {
            problems.absorb(&at.field("body"), &error);
        } else if error.kind() == ErrorKind::NotFound {
            problems.add(&at.field("id"), FieldCode::NotFound, error.message());
        } else if error.kind() == ErrorKind::Precondition {
            stale.add(&at.field("if_match"), FieldCode::Stale, error.message());
        } else {
            return Err(error);
        }
    }
    problems.finish(())?;
    if !stale.is_empty() {
        let message = "objects of the set were changed in the meantime";
        return Err(Error::new(ErrorKind::Precondition, message).with_fields(stale.into_fields()));
    }
    let revision = (!writes.is_empty()).then(|| Revision {
        workspace_id: snapshot.workspace_id(),
        number: snapshot.revision().next(),
        author: actor.user_id(),
        reason: set.message.clone(),
        created_at: now,
    });
    let check = Check::of(set);
    let decision = Decision::write((changes, revision), set.message.clone(), writes);
    Ok(Decision { at: Some(now), ..decision }.provided(move |after| check.check(after)))
}

fn edited(
    change: &Change,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Result<(AppliedChange, Option<GatewayWrite>)> {
    let Change { action, reference, edit, names: _ } = change;
    let left = *action != ChangeAction::Delete;
    let (kind, virtual_host, upstream, write) = match edit {
        ServedEdit::VirtualHost(id, edit) => {
            let (host, write) = virtual_hosts::edited(snapshot, *id, edit, now)?;
            (ServedKind::VirtualHost, left.then_some(host), None, write)
        }
        ServedEdit::Upstream(id, edit) => {
            let (upstream, write) = upstreams::edited(snapshot, *id, edit, now)?;
            (ServedKind::Upstream, None, left.then_some(upstream), write)
        }
    };
    let (action, reference, id) = (*action, reference.clone(), *edit.id());
    Ok((AppliedChange { action, kind, reference, id, virtual_host, upstream }, write))
}

/// What must hold of what comes of a set.
struct Check {
    /// Where in the set each object is, and which fields it names.
    places: HashMap<Uuid, (usize, Vec<String>)>,
    hosts: Vec<VirtualHostId>,
    gone: Vec<UpstreamId>,
}

impl Check {
    fn of(set: &ChangeSet) -> Self {
        let places = set.changes.iter().enumerate();
        let places = places.map(|(at, it)| (*it.edit.id(), (at, it.names.clone()))).collect();
        let (mut hosts, mut gone) = (Vec::new(), Vec::new());
        for change in &set.changes {
            match &change.edit {
                ServedEdit::VirtualHost(id, edit) if !edit.removes() => hosts.push(*id),
                ServedEdit::Upstream(id, edit) if edit.removes() => gone.push(*id),
                ServedEdit::VirtualHost(..) | ServedEdit::Upstream(..) => {}
            }
        }
        Self { places, hosts, gone }
    }

    fn check(&self, after: &Snapshot) -> Result<()> {
        let (mut problems, mut conflicts) = (Problems::default(), Problems::default());
        let root = Path::root();
        let root = root.field("changes");
        let mut first = None;
        for Refusal { object, error } in conflict::refusals(after, &self.hosts, &self.gone) {
            let Some((index, names)) = self.places.get(&object) else { return Err(error) };
            let at = root.index(*index);
            if error.kind() == ErrorKind::Invalid {
                // What a body does not name was there before: whatever took it away is told.
                let field = error.fields().first().map(|it| it.field.as_str());
                let field = field.and_then(|it| it.split(['.', '[']).next()).unwrap_or_default();
                if names.iter().any(|it| it == field) {
                    problems.absorb(&at.field("body"), &error);
                }
                continue;
            }
            if error.fields().is_empty() {
                conflicts.add(&at.field("id"), FieldCode::InUse, error.message());
            } else {
                conflicts.absorb(&at.field("body"), &error);
            }
            first.get_or_insert(error);
        }
        problems.finish(())?;
        match first {
            None => Ok(()),
            Some(first) => Err(Error::new(ErrorKind::Conflict, first.message())
                .with_fields(conflicts.into_fields())),
        }
    }
}

/// The same for whoever looks at what would change. What is so already is the same before
/// and after.
fn object_change(before: &Snapshot, change: &AppliedChange) -> ObjectChange {
    let AppliedChange { action: _, kind, reference: _, id, virtual_host, upstream } = change;
    let (was, after) = match kind {
        ServedKind::VirtualHost => {
            let was = before.virtual_hosts().get(&Id::from_uuid(*id));
            (was.and_then(config::json), virtual_host.as_ref().and_then(config::json))
        }
        ServedKind::Upstream => {
            let was = before.upstreams().get(&Id::from_uuid(*id));
            (was.and_then(config::json), upstream.as_ref().and_then(config::json))
        }
    };
    ObjectChange { kind: (*kind).into(), id: *id, before: was, after }
}
