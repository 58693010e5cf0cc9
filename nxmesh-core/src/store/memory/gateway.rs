use std::{collections::HashMap, num::NonZeroU64, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast;

use super::{MemoryStore, state::Head};
use crate::{
    Page, PageRequest, Result, Revision, RevisionNumber, TokenHash, Trail,
    events::NewEvent,
    gateway::{
        AgentCommand, AgentCount, AgentFilter, AgentId, AgentRecord, AgentSecret, AgentStatus,
        CommandId, CommandOutcome, DeliveryRecord, GatewayChange, GatewayStore, GatewayWrite,
        Moved, News, Rollout, RolloutId, RolloutMark, SessionId, SilentAgent, Snapshot, Step,
        Upstream, UpstreamId, VirtualHost, VirtualHostId, Writes, drift::DriftRecord,
    },
    store::{last_settings, local::Effect},
    tenancy::WorkspaceId,
};

#[async_trait]
impl GatewayStore for MemoryStore {
    async fn snapshot(&self, of: WorkspaceId) -> Result<Option<Snapshot>> {
        let state = self.lock();
        let Some(head) = state.workspaces.get(&of) else { return Ok(None) };
        let settings = GatewayWrite::PutSettings(Arc::new(head.workspace.settings.clone()));
        let hosts = state.virtual_hosts.values().filter(|it| it.workspace_id == of).cloned();
        let upstreams = state.upstreams.values().filter(|it| it.workspace_id == of).cloned();
        let agents = state.agents.values().filter(|it| it.spec.workspace_id == of);
        let writes = std::iter::once(settings)
            .chain(upstreams.map(GatewayWrite::PutUpstream))
            .chain(hosts.map(GatewayWrite::PutVirtualHost))
            .chain(agents.map(|it| GatewayWrite::PutAgent(Arc::new(it.spec.clone()))));
        let mut snapshot = Snapshot::empty(of, head.workspace.organization_id);
        snapshot.apply(head.number(), writes);
        Ok(Some(snapshot))
    }

    async fn heads(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RevisionNumber>> {
        let state = self.lock();
        let found = of.iter().filter_map(|id| Some((*id, state.workspaces.get(id)?.number())));
        Ok(found.collect())
    }

    async fn writes_since(&self, of: WorkspaceId, after: RevisionNumber) -> Result<Option<Writes>> {
        let state = self.lock();
        let Some(head) = state.workspaces.get(&of) else { return Ok(None) };
        let later = head.history.iter().filter(|(revision, _)| revision.number > after);
        let known = after >= head.base.revision();
        let writes = known.then(|| later.flat_map(|(_, writes)| writes.iter().cloned()).collect());
        Ok(Some(Writes { revision: head.number(), writes }))
    }

    async fn virtual_host(&self, id: VirtualHostId) -> Result<Option<VirtualHost>> {
        Ok(self.lock().virtual_hosts.get(&id).map(|host| host.as_ref().clone()))
    }

    async fn virtual_hosts(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<VirtualHost>> {
        let state = self.lock();
        let mut all: Vec<_> =
            state.virtual_hosts.values().filter(|it| it.workspace_id == of).collect();
        all.sort_by_key(|it| (it.created_at, it.id));
        Ok(page.of(all).map(|host| host.as_ref().clone()))
    }

    async fn upstream(&self, id: UpstreamId) -> Result<Option<Upstream>> {
        Ok(self.lock().upstreams.get(&id).map(|upstream| upstream.as_ref().clone()))
    }

    async fn upstreams(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Upstream>> {
        let state = self.lock();
        let mut all: Vec<_> = state.upstreams.values().filter(|it| it.workspace_id == of).collect();
        all.sort_by_key(|it| (it.created_at, it.id));
        Ok(page.of(all).map(|upstream| upstream.as_ref().clone()))
    }

    async fn agent(&self, id: AgentId) -> Result<Option<AgentRecord>> {
        Ok(self.lock().agents.get(&id).cloned())
    }

    async fn agents(
        &self,
        of: WorkspaceId,
        filter: &AgentFilter,
        page: PageRequest,
    ) -> Result<Page<AgentRecord>> {
        let state = self.lock();
        let meant = |it: &&AgentRecord| it.spec.workspace_id == of && filter.matches(it);
        let mut all: Vec<_> = state.agents.values().filter(meant).collect();
        all.sort_by_key(|it| (it.spec.created_at, it.spec.id));
        Ok(page.of(all).map(AgentRecord::clone))
    }

    async fn agent_count(&self) -> Result<AgentCount> {
        let agents = &self.lock().agents;
        let seen = agents.values().filter(|it| it.session.is_some()).count();
        Ok(AgentCount { all: agents.len() as u64, seen: seen as u64 })
    }

    async fn agent_secret(&self, hash: &TokenHash) -> Result<Option<AgentSecret>> {
        Ok(self.lock().agent_secrets.get(hash).cloned())
    }

    async fn revision(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Option<Revision>> {
        let state = self.lock();
        let history =
            state.workspaces.get(&of).map(|head| head.history.as_slice()).unwrap_or_default();
        Ok(history.iter().map(|(revision, _)| revision).find(|it| it.number == number).cloned())
    }

    async fn revisions(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Revision>> {
        let state = self.lock();
        let history =
            state.workspaces.get(&of).map(|head| head.history.as_slice()).unwrap_or_default();
        Ok(page.of(history.iter().map(|(revision, _)| revision.clone())))
    }

    async fn state_at(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Option<Snapshot>> {
        let state = self.lock();
        let head = state.workspaces.get(&of).filter(|head| number <= head.number());
        let Some(head) = head else { return Ok(None) };
        let until = head.history.iter().filter(|(revision, _)| revision.number <= number);
        let mut snapshot = match number {
            RevisionNumber(0) => Snapshot::empty(of, head.workspace.organization_id),
            _ if number < head.base.revision() => return Ok(None),
            _ => head.base.clone(),
        };
        snapshot.apply(number, until.flat_map(|(_, writes)| writes.iter().cloned()));
        Ok(Some(snapshot))
    }

    async fn long_histories(&self, more_than: u64) -> Result<Vec<WorkspaceId>> {
        let state = self.lock();
        let long = state.workspaces.iter().filter(|(_, head)| head.revisions() > more_than);
        Ok(long.map(|(id, _)| *id).collect())
    }

    async fn drop_revisions(&self, of: WorkspaceId, keep: NonZeroU64) -> Result<u64> {
        let mut state = self.lock();
        Ok(state.workspaces.get_mut(&of).map_or(0, |head| head.drop_revisions(keep.get())))
    }

    async fn commit(&self, change: GatewayChange) -> Result<()> {
        let revision = Some(change.head());
        let GatewayChange { workspace_id, base, steps } = change;
        let tenancy = steps.iter().any(|it| last_settings(&it.writes).is_some());
        {
            let mut state = self.lock();
            state.at(workspace_id, base)?;
            for Step { revision, writes, secret, trail } in steps {
                state.advance(revision, &writes);
                for write in writes {
                    state.write(write);
                }
                if let Some(secret) = secret {
                    state.agent_secrets.insert(secret.hash, secret);
                }
                state.record(trail);
            }
        }
        let moved = vec![Moved { workspace_id, revision }];
        let effect = Effect { tenancy, moved, recorded: true };
        self.local.count(&effect);
        self.local.tell(effect);
        Ok(())
    }

    async fn rollout(&self, id: RolloutId) -> Result<Option<Rollout>> {
        Ok(self.lock().rollout(id))
    }

    async fn rollouts(&self, of: WorkspaceId, page: PageRequest) -> Result<Page<Rollout>> {
        Ok(self.lock().rollouts(of, page))
    }

    async fn rollouts_under_way(&self) -> Result<Vec<Rollout>> {
        Ok(self.lock().rollouts_under_way())
    }

    async fn delivery(&self, of: WorkspaceId) -> Result<Option<DeliveryRecord>> {
        Ok(self.lock().workspaces.get(&of).map(Head::delivery))
    }

    async fn rollout_marks(&self, of: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, RolloutMark>> {
        let state = self.lock();
        let found = of.iter().filter_map(|id| Some((*id, state.workspaces.get(id)?.mark()?)));
        Ok(found.collect())
    }

    async fn put_rollout(&self, rollout: &Rollout, trail: Trail) -> Result<bool> {
        let put = self.lock().put_rollout(rollout, trail);
        if put {
            self.local.recorded();
            self.local.announce(News::RolledOut(rollout.workspace_id));
        }
        Ok(put)
    }

    async fn add_agent_secret(&self, secret: AgentSecret) -> Result<bool> {
        let mut state = self.lock();
        let known = state.agents.contains_key(&secret.agent_id);
        if known {
            state.agent_secrets.insert(secret.hash, secret);
        }
        Ok(known)
    }

    async fn keep_only_agent_secret(&self, agent: AgentId, hash: &TokenHash) -> Result<bool> {
        let mut state = self.lock();
        let known = state.agent_secrets.get(hash).is_some_and(|it| it.agent_id == agent);
        if known {
            state.agent_secrets.retain(|other, it| it.agent_id != agent || other == hash);
        }
        Ok(known)
    }

    async fn open_agent_session(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let mut state = self.lock();
        let Some(agent) = state.agents.get_mut(&id) else { return Ok(false) };
        agent.session = Some(session);
        agent.status = status.clone();
        state.record(Trail::of_events(events));
        drop(state);
        self.local.recorded();
        Ok(true)
    }

    async fn record_agent_status(
        &self,
        id: AgentId,
        session: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let mut state = self.lock();
        let held = state.agents.get_mut(&id).filter(|it| it.session == Some(session));
        let Some(agent) = held else { return Ok(false) };
        agent.status = status.clone();
        state.record(Trail::of_events(events));
        drop(state);
        self.local.recorded();
        Ok(true)
    }

    async fn silent_agents(&self, before: DateTime<Utc>, most: usize) -> Result<Vec<SilentAgent>> {
        let state = self.lock();
        let heard = state.agents.values().filter_map(|it| Some((it.status.heard_at()?, it)));
        let mut silent: Vec<_> = heard.filter(|(heard_at, _)| *heard_at < before).collect();
        silent.sort_by_key(|(heard_at, it)| (*heard_at, it.spec.id));
        let found = silent.into_iter().take(most).filter_map(|(heard_at, agent)| {
            let head = state.workspaces.get(&agent.spec.workspace_id)?;
            let organization_id = head.workspace.organization_id;
            Some(SilentAgent { agent: agent.clone(), organization_id, heard_at })
        });
        Ok(found.collect())
    }

    async fn end_silent_session(
        &self,
        SilentAgent { agent: found, organization_id: _, heard_at }: &SilentAgent,
        by: SessionId,
        status: &AgentStatus,
        events: Vec<NewEvent>,
    ) -> Result<bool> {
        let mut state = self.lock();
        let silent = |it: &&mut AgentRecord| {
            it.session == found.session && it.status.heard_at() == Some(*heard_at)
        };
        let agent = state.agents.get_mut(&found.spec.id).filter(silent);
        let Some(agent) = agent else { return Ok(false) };
        agent.session = Some(by);
        agent.status = status.clone();
        state.record(Trail::of_events(events));
        drop(state);
        self.local.recorded();
        Ok(true)
    }

    async fn agent_drift(&self, id: AgentId) -> Result<Option<DriftRecord>> {
        Ok(self.lock().agent_drifts.get(&id).cloned())
    }

    async fn record_agent_drift(
        &self,
        id: AgentId,
        session: SessionId,
        drift: &DriftRecord,
    ) -> Result<bool> {
        let mut state = self.lock();
        let held = state.agents.get(&id).is_some_and(|it| it.session == Some(session));
        if held {
            state.agent_drifts.insert(id, drift.clone());
        }
        Ok(held)
    }

    async fn add_command(&self, command: &AgentCommand, lasting: Duration) -> Result<bool> {
        Ok(self.local.add_command(command.clone(), lasting))
    }

    async fn waiting_commands(&self) -> Result<Vec<AgentId>> {
        Ok(self.local.waiting_commands())
    }

    async fn take_commands(&self, agent: AgentId) -> Result<Vec<AgentCommand>> {
        Ok(self.local.take_commands(agent))
    }

    async fn answer_command(&self, id: CommandId, outcome: &CommandOutcome) -> Result<()> {
        self.local.answer_command(id, outcome.clone());
        Ok(())
    }

    async fn command_outcome(&self, id: CommandId) -> Result<Option<CommandOutcome>> {
        Ok(self.local.command_outcome(id))
    }

    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let secrets = &mut self.lock().agent_secrets;
        let count = secrets.len();
        secrets.retain(|_, it| it.expires_at.is_none_or(|end| end >= before));
        Ok((count - secrets.len()) as u64)
    }

    fn changes(&self) -> Option<u64> {
        Some(self.local.gateway_changes())
    }

    fn subscribe(&self) -> broadcast::Receiver<News> {
        self.local.subscribe()
    }

    fn poll_interval(&self) -> Option<Duration> {
        None
    }
}
