use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Actor, Error, IfMatch, MergePatch, Page, PageRequest, Result, RevisionNumber, Secret,
    TokenHash,
    clock::new_id,
    gateway::{
        Agent, AgentConfig, AgentFilter, AgentId, AgentRecord, AgentSpec, AgentState,
        COMMAND_PATIENCE, ConfigState, GatewayWrite, LabelSelector, NewAgent, NewRegistrationToken,
        Snapshot, conflict,
        context::{Context, Decision},
        dispatch,
        drift::{DriftDetails, DriftPolicy, NewDriftPolicy},
        link::CommandAction,
        project::Published,
        reports::agent_events::About,
        session::admission::TOKEN_PREFIX,
        store::AgentSecret,
    },
    tenancy::{Permission, WorkspaceId},
    token::new_token,
};

/// The hosts beside nginx: `mesh.gateway().agents()`.
///
/// Every call shows an actor only what belongs to their organizations; anything
/// else is `NotFound`.
#[derive(Debug, Clone)]
pub struct Agents {
    context: Context,
}

/// Lets one agent in, once. Shown only here: the store keeps a hash.
#[derive(Debug, Clone)]
pub struct RegistrationToken {
    /// What the agent registers with.
    pub token: Secret<String>,
    /// The agent that it will be.
    pub agent_id: AgentId,
    /// Until when it works.
    pub expires_at: DateTime<Utc>,
}

/// Which agents to list; all, by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentQuery {
    /// Only those in this state.
    pub state: Option<AgentState>,
    /// Only those whose labels match.
    pub label_selector: Option<LabelSelector>,
    /// Only those that are not proven to serve what they should, or only those that are.
    pub lagging: Option<bool>,
}

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReloadOutcome {
    /// Whether new workers serve.
    pub success: bool,
    /// nginx's own words.
    pub message: String,
    /// When the answer came.
    pub timestamp: DateTime<Utc>,
}

impl Agents {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of a workspace, in order of creation, without their health and what they hold back;
    /// only those that lag, or do not, if that is said. Those lag that are not proven to serve what
    /// they should, also when they are offline.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace.
    pub async fn list(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        which: AgentQuery,
        page: PageRequest,
    ) -> Result<Page<Agent>> {
        let AgentQuery { state, label_selector, lagging } = which;
        self.context.check(actor, of, Permission::Read).await?;
        let alive_since = self.context.alive_since();
        let filter = AgentFilter { state, label_selector, alive_since };
        let published = self.context.snapshots.newest(of).await?;
        let agents = match lagging {
            None => self.context.store.agents(of, &filter, page).await?,
            Some(lagging) => {
                let all = self.context.store.agents(of, &filter, PageRequest::whole()).await?;
                let meant = all.data.into_iter().filter(|it| {
                    let desired = published.update_for(it.spec.id);
                    let desired = desired.map(|it| ConfigState::of(&it, alive_since));
                    it.status.convergence(desired).lagging == lagging
                });
                page.of(meant)
            }
        };
        let made = self.made(of, &published, agents.data.iter().map(|it| it.spec.id)).await?;
        Ok(agents.map(|agent| {
            let desired = desired(&published, agent.spec.id, &made);
            let shown = agent.show(alive_since, desired);
            Agent { health: None, quarantined: Vec::new(), ..shown }
        }))
    }

    /// One agent.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn get(&self, actor: &Actor, id: AgentId) -> Result<Agent> {
        let agent = self.record(actor, id, Permission::Read).await?;
        let of = agent.spec.workspace_id;
        let published = self.context.snapshots.newest(of).await?;
        let made = self.made(of, &published, [id]).await?;
        Ok(agent.show(self.context.alive_since(), desired(&published, id, &made)))
    }

    /// When the revisions were made that these agents should serve.
    async fn made(
        &self,
        of: WorkspaceId,
        published: &Published,
        agents: impl IntoIterator<Item = AgentId> + Send,
    ) -> Result<BTreeMap<RevisionNumber, DateTime<Utc>>> {
        let shown = agents.into_iter().filter_map(|id| published.update_for(id));
        let shown: BTreeSet<_> = shown.map(|it| it.version).collect();
        let mut made = BTreeMap::new();
        for number in shown {
            let revision = self.context.store.revision(of, number).await?;
            made.extend(revision.map(|it| (number, it.created_at)));
        }
        Ok(made)
    }

    /// Makes an agent and the token that lets it in, as the workspace's next revision.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such workspace,
    /// [`Forbidden`](crate::ErrorKind::Forbidden), [`Invalid`](crate::ErrorKind::Invalid), [`Conflict`](crate::ErrorKind::Conflict) when two virtual
    /// hosts would meet on an agent with these labels.
    pub async fn create_token(
        &self,
        actor: &Actor,
        of: WorkspaceId,
        new: NewRegistrationToken,
    ) -> Result<RegistrationToken> {
        self.context.check(actor, of, Permission::WriteAgents).await?;
        let (name, labels, hours) = new.parse()?;
        let agent_id = new_id(self.context.clock.as_ref());
        let now = self.context.clock.now();
        let expires_at = now + TimeDelta::hours(i64::try_from(hours).unwrap_or(i64::MAX));
        let token = new_token(TOKEN_PREFIX);
        let hash = TokenHash::of(token.expose());
        let decide = |snapshot: &Snapshot| {
            let spec = AgentSpec {
                id: agent_id,
                workspace_id: of,
                name: name.clone(),
                labels: labels.clone(),
                drift: DriftPolicy::default(),
                revision: snapshot.revision().next(),
                created_at: now,
                updated_at: now,
            };
            let secret = Some(AgentSecret { hash, agent_id, expires_at: Some(expires_at) });
            Ok(Decision { secret, ..put(spec, "create", ()) })
        };
        self.context.change(actor, of, decide).await?;
        Ok(RegistrationToken { token, agent_id, expires_at })
    }

    /// Changes name, labels or what it does about drift, as the workspace's next revision.
    /// Labels in the patch replace all labels. Virtual hosts move on and off the agent at once.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Forbidden`](crate::ErrorKind::Forbidden), [`Invalid`](crate::ErrorKind::Invalid),
    /// [`Precondition`](crate::ErrorKind::Precondition) when `if_match` names another state,
    /// [`Conflict`](crate::ErrorKind::Conflict) when two virtual hosts would meet on the agent.
    pub async fn update(
        &self,
        actor: &Actor,
        id: AgentId,
        patch: &MergePatch,
        if_match: &IfMatch,
    ) -> Result<Agent> {
        let workspace = self.record(actor, id, Permission::WriteAgents).await?.spec.workspace_id;
        let now = self.context.clock.now();
        let decide = |snapshot: &Snapshot| {
            let current = find(snapshot, id)?;
            if_match.check(&current.etag())?;
            let labels =
                if patch.names("labels") { Default::default() } else { current.labels.clone() };
            // Another policy starts from nothing: the end of the old one does not stay.
            let drift = match patch.names_within("drift", "policy") {
                true => NewDriftPolicy::default(),
                false => current.drift.into(),
            };
            let body = NewAgent { name: current.name.clone().into(), labels, drift };
            let decided_now = patch.names("drift").then_some(now);
            let (name, labels, drift) = patch.apply(&body)?.parse(decided_now)?;
            if name == current.name && labels == current.labels && drift == current.drift {
                return Ok(Decision::nothing(()));
            }
            let revision = snapshot.revision().next();
            Ok(put(
                AgentSpec {
                    name,
                    labels,
                    drift,
                    revision,
                    updated_at: now,
                    ..current.as_ref().clone()
                },
                "update",
                (),
            ))
        };
        self.context.change(actor, workspace, decide).await?;
        self.get(actor, id).await
    }

    /// Removes an agent: its stream ends, and its credential is worth nothing any more.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Forbidden`](crate::ErrorKind::Forbidden), [`Precondition`](crate::ErrorKind::Precondition).
    pub async fn delete(&self, actor: &Actor, id: AgentId, if_match: &IfMatch) -> Result<()> {
        let workspace = self.record(actor, id, Permission::WriteAgents).await?.spec.workspace_id;
        let decide = |snapshot: &Snapshot| {
            let current = find(snapshot, id)?;
            if_match.check(&current.etag())?;
            let reason = format!("delete agent {}", current.name);
            Ok(Decision::write((), reason, vec![GatewayWrite::DeleteAgent(id)]))
        };
        self.context.change(actor, workspace, decide).await?;
        self.context.fleet.dismiss(id);
        Ok(())
    }

    /// Has the agent's nginx reload what it has, and waits for the answer, 10 s at most. The
    /// agent may be connected to another server of the same store. The audit log says so
    /// afterwards: if it cannot be written then, the log of this program says that instead.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Forbidden`](crate::ErrorKind::Forbidden); [`Unavailable`](crate::ErrorKind::Unavailable) when the
    /// agent is not connected or does not answer.
    pub async fn reload(&self, actor: &Actor, id: AgentId) -> Result<ReloadOutcome> {
        let agent = self.record(actor, id, Permission::Command).await?;
        let published = self.context.snapshots.get(agent.spec.workspace_id).await?;
        let about = About::of(&agent.spec, &published.snapshot);
        let action = CommandAction::Reload { graceful: true };
        let outcome = dispatch::order(&self.context, &agent, action, COMMAND_PATIENCE).await?;
        let timestamp = self.context.clock.now();
        let trail = about.reloaded(actor, &outcome, self.context.clock.as_ref());
        if let Err(error) = self.context.events.record(trail).await {
            // It is done all the same: whoever is told that it failed does it again.
            tracing::error!(agent_id = %id, user_id = %actor.user_id(), success = outcome.success, %error, "a reload that was done is not in the audit log");
        }
        Ok(ReloadOutcome { success: outcome.success, message: outcome.message, timestamp })
    }

    /// The files that an agent should be running, and what it says it runs.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Unavailable`](crate::ErrorKind::Unavailable)
    /// when too much is being rendered for others.
    pub async fn config(&self, actor: &Actor, id: AgentId) -> Result<AgentConfig> {
        let agent = self.record(actor, id, Permission::Read).await?;
        let published = self.context.snapshots.newest(agent.spec.workspace_id).await?;
        let missing = || Error::not_found("agent", id);
        let update = published.update_for(id).ok_or_else(missing)?;
        self.context.aside.run(move || AgentConfig::of(id, &update, agent.status)).await
    }

    /// What an agent does about drift, and what it told of the last one.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub async fn drift(&self, actor: &Actor, id: AgentId) -> Result<DriftDetails> {
        let agent = self.record(actor, id, Permission::Read).await?;
        let last = self.context.store.agent_drift(id).await?;
        Ok(DriftDetails { policy: agent.spec.drift, last })
    }

    async fn record(
        &self,
        actor: &Actor,
        id: AgentId,
        permission: Permission,
    ) -> Result<AgentRecord> {
        let missing = || Error::not_found("agent", id);
        let agent = self.context.store.agent(id).await?.ok_or_else(missing)?;
        let workspace = agent.spec.workspace_id;
        self.context
            .check(actor, workspace, permission)
            .await
            .map_err(|error| error.or_missing(missing))?;
        Ok(agent)
    }
}

/// What an agent should serve. A revision that is not kept any more was made long ago.
fn desired(
    published: &Published,
    id: AgentId,
    made: &BTreeMap<RevisionNumber, DateTime<Utc>>,
) -> Option<ConfigState> {
    let update = published.update_for(id)?;
    let at = made.get(&update.version).copied().unwrap_or_default();
    Some(ConfigState::of(&update, at))
}

fn find(snapshot: &Snapshot, id: AgentId) -> Result<&Arc<AgentSpec>> {
    snapshot.agents().get(&id).ok_or_else(|| Error::not_found("agent", id))
}

fn put<T>(spec: AgentSpec, verb: &str, answer: T) -> Decision<T> {
    let reason = format!("{verb} agent {}", spec.name);
    let spec = Arc::new(spec);
    let writes = vec![GatewayWrite::PutAgent(Arc::clone(&spec))];
    Decision::write(answer, reason, writes)
        .provided(move |after| conflict::check_agent(after, &spec))
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use futures::StreamExt;
    use tokio::sync::watch;

    use super::*;
    use crate::{
        ErrorKind, Mesh, Trail,
        conformance::given,
        events::{Event, EventId, EventStore, EventsKept},
        gateway::link::{AgentEvent, AgentMessage, COMMAND_RESULT, LinkHost, ServerMessage},
        store::{Stores, memory::MemoryStore},
        transport::in_process,
    };

    /// Records nothing.
    #[derive(Debug)]
    struct Full(Arc<dyn EventStore>);

    #[async_trait]
    impl EventStore for Full {
        async fn record(&self, _: Trail) -> Result<()> {
            Err(Error::new(ErrorKind::Unavailable, "the disk is full"))
        }

        async fn events_after(&self, after: EventId, most: usize) -> Result<Vec<Event>> {
            self.0.events_after(after, most).await
        }

        async fn events_kept(&self) -> Result<EventsKept> {
            self.0.events_kept().await
        }

        async fn drop_events(&self, keep: u64) -> Result<u64> {
            self.0.drop_events(keep).await
        }

        fn watch_events(&self) -> watch::Receiver<u64> {
            self.0.watch_events()
        }
    }

    #[tokio::test]
    async fn a_reload_that_was_done_is_told_even_if_it_cannot_be_recorded() {
        let mut stores = Stores::from(MemoryStore::new());
        stores.events = Arc::new(Full(Arc::clone(&stores.events)));
        let (workspace, owner) = given::stored_workspace(&stores).await;
        let actor = Actor::user(owner);
        let mesh = Mesh::builder().store(stores).build().await.unwrap();
        let agents = mesh.gateway().agents();
        let new = crate::from_json(serde_json::json!({"name": "web"})).unwrap();
        let made = agents.create_token(&actor, workspace.id, new).await.unwrap();
        let (there, here) = in_process::pair();
        mesh.gateway().attach(there);
        let (mut link, _) = given::registered(here, made.token).await;
        let agent = async {
            loop {
                let message = link.incoming.next().await.unwrap().unwrap();
                let ServerMessage::Command(command) = message else { continue };
                let data = [("command_id", command.command_id.as_str()), ("success", "true")];
                let data = data.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let event = AgentEvent {
                    event_id: "1".to_owned(),
                    event_type: COMMAND_RESULT.to_owned(),
                    timestamp: given::at(0),
                    data: BTreeMap::from(data),
                };
                return link.outgoing.send(AgentMessage::Event(event)).await.unwrap();
            }
        };
        let (outcome, ()) = tokio::join!(agents.reload(&actor, made.agent_id), agent);
        assert!(outcome.unwrap().success);
        mesh.shutdown().await;
    }
}
