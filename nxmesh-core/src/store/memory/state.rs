use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use crate::{
    Error, ErrorKind, KeyedHash, Reservation, Result, Revision, RevisionNumber, TokenHash,
    events::{Event, EventId},
    gateway::{
        AgentId, AgentRecord, AgentSecret, GatewayWrite, Rollout, Snapshot, Upstream, UpstreamId,
        VirtualHost, VirtualHostId, drift::DriftRecord,
    },
    store::last_settings,
    tenancy::{
        ApiKey, ApiKeyId, AuditEntry, Organization, OrganizationId, RefreshToken, Role, Sealed,
        SealedSigningKey, User, UserId, Workspace, WorkspaceId,
    },
};

/// All rows, by their keys.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) users: BTreeMap<UserId, User>,
    pub(super) organizations: BTreeMap<OrganizationId, Organization>,
    pub(super) members: BTreeMap<(UserId, OrganizationId), Role>,
    pub(super) api_keys: BTreeMap<ApiKeyId, (ApiKey, TokenHash)>,
    pub(super) workspaces: BTreeMap<WorkspaceId, Head>,
    pub(super) refresh_tokens: BTreeMap<TokenHash, RefreshToken>,
    pub(super) signing_key: Option<SealedSigningKey>,
    pub(super) virtual_hosts: BTreeMap<VirtualHostId, Arc<VirtualHost>>,
    pub(super) upstreams: BTreeMap<UpstreamId, Arc<Upstream>>,
    pub(super) agents: BTreeMap<AgentId, AgentRecord>,
    pub(super) agent_drifts: BTreeMap<AgentId, DriftRecord>,
    pub(super) agent_secrets: BTreeMap<TokenHash, AgentSecret>,
    pub(super) audit_log: Vec<AuditEntry>,
    pub(super) events: VecDeque<Event>,
    pub(super) newest_event: EventId,
    pub(super) requests: BTreeMap<KeyedHash, (Reservation, Option<Sealed>)>,
}

/// A workspace and its history.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) workspace: Workspace,
    /// What the oldest revision that is kept was, once older ones were dropped; what it wrote is
    /// in it.
    pub(super) base: Snapshot,
    pub(super) history: Vec<(Revision, Vec<GatewayWrite>)>,
    /// Each with its place among all there were, oldest first.
    pub(super) rollouts: Vec<(u64, Rollout)>,
}

impl Head {
    pub(super) fn new(workspace: Workspace) -> Self {
        let base = Snapshot::empty(workspace.id, workspace.organization_id);
        Self { workspace, base, history: Vec::new(), rollouts: Vec::new() }
    }

    /// How many revisions there are.
    pub(super) const fn revisions(&self) -> u64 {
        self.history.len() as u64
    }

    pub(super) fn drop_revisions(&mut self, keep: u64) -> u64 {
        let Some(count) = self.revisions().checked_sub(keep) else { return 0 };
        let oldest = self.history.first().map_or(0, |(revision, _)| revision.number.0);
        let free = self.delivery().oldest().map_or(count, |it| it.0.saturating_sub(oldest));
        let count = count.min(free);
        let last = self.history.get_mut(count as usize).filter(|_| count > 0);
        let Some((oldest, its_writes)) = last else { return 0 };
        let (number, its_writes) = (oldest.number, mem::take(its_writes));
        let dropped = self.history.drain(..count as usize).flat_map(|(_, writes)| writes);
        self.base.apply(number, dropped.chain(its_writes));
        count
    }

    pub(super) fn number(&self) -> RevisionNumber {
        self.history.last().map(|(revision, _)| revision.number).unwrap_or_default()
    }
}

impl State {
    /// The workspace, if its head is `base`.
    pub(super) fn at(&mut self, id: WorkspaceId, base: RevisionNumber) -> Result<&mut Head> {
        let missing = || Error::not_found("workspace", id);
        let head = self.workspaces.get_mut(&id).ok_or_else(missing)?;
        if head.number() != base {
            return Err(Error::new(ErrorKind::Stale, "the workspace has moved on"));
        }
        Ok(head)
    }

    pub(super) fn advance(&mut self, revision: Revision, writes: &[GatewayWrite]) {
        if let Some(head) = self.workspaces.get_mut(&revision.workspace_id) {
            if let Some(settings) = last_settings(writes) {
                head.workspace.settings = settings.clone();
                head.workspace.revision = revision.number;
                head.workspace.updated_at = revision.created_at;
            }
            head.history.push((revision, writes.to_vec()));
        }
    }

    pub(super) fn write(&mut self, write: GatewayWrite) {
        match write {
            // The workspace has them already.
            GatewayWrite::PutSettings(_) => {}
            GatewayWrite::PutVirtualHost(host) => {
                self.virtual_hosts.insert(host.id, host);
            }
            GatewayWrite::DeleteVirtualHost(id) => {
                self.virtual_hosts.remove(&id);
            }
            GatewayWrite::PutUpstream(upstream) => {
                self.upstreams.insert(upstream.id, upstream);
            }
            GatewayWrite::DeleteUpstream(id) => {
                self.upstreams.remove(&id);
            }
            GatewayWrite::PutAgent(spec) => {
                let spec = spec.as_ref().clone();
                let before = self.agents.remove(&spec.id).map(|it| (it.status, it.session));
                let (status, session) = before.unwrap_or_default();
                self.agents.insert(spec.id, AgentRecord { spec, status, session });
            }
            GatewayWrite::DeleteAgent(id) => {
                self.agents.remove(&id);
                self.agent_drifts.remove(&id);
                self.agent_secrets.retain(|_, secret| secret.agent_id != id);
            }
        }
    }
}
