use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::MemoryStore;
use crate::{
    Page, PageRequest, Result, Revision, RevisionNumber, TokenHash,
    gateway::{
        AgentFilter, AgentId, AgentRecord, AgentSecret, AgentStatus, GatewayChange, GatewayStore,
        GatewayWrite, Moved, Snapshot, Upstream, UpstreamId, VirtualHost, VirtualHostId, Writes,
    },
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
        let mut snapshot = Snapshot::empty(of);
        snapshot.apply(head.number(), writes);
        Ok(Some(snapshot))
    }

    async fn writes_since(&self, of: WorkspaceId, after: RevisionNumber) -> Result<Option<Writes>> {
        let state = self.lock();
        let Some(head) = state.workspaces.get(&of) else { return Ok(None) };
        let later = head.history.iter().filter(|(revision, _)| revision.number > after);
        let writes = later.flat_map(|(_, writes)| writes.iter().cloned()).collect();
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

    async fn agent_secret(&self, hash: &TokenHash) -> Result<Option<AgentSecret>> {
        Ok(self.lock().agent_secrets.get(hash).cloned())
    }

    async fn revision(&self, of: WorkspaceId, number: RevisionNumber) -> Result<Option<Revision>> {
        let state = self.lock();
        let history =
            state.workspaces.get(&of).map(|head| head.history.as_slice()).unwrap_or_default();
        Ok(history.iter().map(|(revision, _)| revision).find(|it| it.number == number).cloned())
    }

    async fn commit(&self, change: GatewayChange) -> Result<()> {
        let GatewayChange { base, revision, writes, secret } = change;
        let moved = Moved { workspace_id: revision.workspace_id, revision: Some(revision.number) };
        {
            let mut state = self.lock();
            let head = state.at(revision.workspace_id, base)?;
            head.history.push((revision, writes.clone()));
            for write in writes {
                state.write(write);
            }
            if let Some(secret) = secret {
                state.agent_secrets.insert(secret.hash, secret);
            }
        }
        self.announce(moved);
        Ok(())
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

    async fn record_agent_status(&self, id: AgentId, status: &AgentStatus) -> Result<bool> {
        let mut state = self.lock();
        let Some(agent) = state.agents.get_mut(&id) else { return Ok(false) };
        agent.status = status.clone();
        Ok(true)
    }

    fn subscribe(&self) -> broadcast::Receiver<Moved> {
        self.moved.subscribe()
    }
}
