use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use uuid::Uuid;

use crate::{
    RevisionNumber,
    gateway::{AgentId, AgentSpec, GatewayWrite, Upstream, UpstreamId, VirtualHost, VirtualHostId},
    tenancy::{OrganizationId, Settings, WorkspaceId},
};

/// A workspace at one revision: all that decides what its agents serve.
#[derive(Debug, Clone)]
pub struct Snapshot {
    workspace_id: WorkspaceId,
    organization_id: OrganizationId,
    revision: RevisionNumber,
    settings: Arc<Settings>,
    virtual_hosts: BTreeMap<VirtualHostId, Arc<VirtualHost>>,
    upstreams: BTreeMap<UpstreamId, Arc<Upstream>>,
    agents: BTreeMap<AgentId, Arc<AgentSpec>>,
    digests: BTreeMap<Uuid, Digest>,
}

/// Names the content of one object.
pub(crate) type Digest = [u8; 32];

impl Snapshot {
    /// A workspace before its first revision.
    #[must_use]
    pub fn empty(workspace_id: WorkspaceId, organization_id: OrganizationId) -> Self {
        let settings = Arc::new(Settings::default());
        let digests = BTreeMap::from([(*workspace_id.as_uuid(), digest(&settings.served()))]);
        Self {
            workspace_id,
            organization_id,
            revision: RevisionNumber::default(),
            settings,
            virtual_hosts: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            agents: BTreeMap::new(),
            digests,
        }
    }

    /// Of which workspace.
    #[must_use]
    pub const fn workspace_id(&self) -> WorkspaceId {
        self.workspace_id
    }

    /// Of which organization.
    #[must_use]
    pub const fn organization_id(&self) -> OrganizationId {
        self.organization_id
    }

    /// At which revision.
    #[must_use]
    pub const fn revision(&self) -> RevisionNumber {
        self.revision
    }

    /// What holds for the whole nginx of every agent.
    #[must_use]
    pub const fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The virtual hosts.
    #[must_use]
    pub const fn virtual_hosts(&self) -> &BTreeMap<VirtualHostId, Arc<VirtualHost>> {
        &self.virtual_hosts
    }

    /// The upstreams.
    #[must_use]
    pub const fn upstreams(&self) -> &BTreeMap<UpstreamId, Arc<Upstream>> {
        &self.upstreams
    }

    /// The agents.
    #[must_use]
    pub const fn agents(&self) -> &BTreeMap<AgentId, Arc<AgentSpec>> {
        &self.agents
    }

    /// Moves on to `revision` by these writes.
    pub fn apply(
        &mut self,
        revision: RevisionNumber,
        writes: impl IntoIterator<Item = GatewayWrite>,
    ) {
        for write in writes {
            self.write(write);
        }
        self.revision = revision;
    }

    fn write(&mut self, write: GatewayWrite) {
        match write {
            GatewayWrite::PutSettings(settings) => {
                self.digests.insert(*self.workspace_id.as_uuid(), digest(&settings.served()));
                self.settings = settings;
            }
            GatewayWrite::PutVirtualHost(host) => {
                self.digests.insert(*host.id.as_uuid(), digest(host.spec.as_ref()));
                self.virtual_hosts.insert(host.id, host);
            }
            GatewayWrite::DeleteVirtualHost(id) => {
                self.digests.remove(id.as_uuid());
                self.virtual_hosts.remove(&id);
            }
            GatewayWrite::PutUpstream(upstream) => {
                self.digests.insert(*upstream.id.as_uuid(), digest(upstream.spec.as_ref()));
                self.upstreams.insert(upstream.id, upstream);
            }
            GatewayWrite::DeleteUpstream(id) => {
                self.digests.remove(id.as_uuid());
                self.upstreams.remove(&id);
            }
            GatewayWrite::PutAgent(agent) => {
                self.agents.insert(agent.id, agent);
            }
            GatewayWrite::DeleteAgent(id) => {
                self.agents.remove(&id);
            }
        }
    }

    pub(crate) fn digest_of(&self, id: &Uuid) -> Digest {
        self.digests.get(id).copied().unwrap_or_default()
    }
}

/// Equal content has an equal digest: maps are sorted, and field order is fixed.
fn digest(content: &impl Serialize) -> Digest {
    let mut hasher = blake3::Hasher::new();
    // A hasher takes every write, and our own types have no keys that JSON lacks.
    let _ = serde_json::to_writer(&mut hasher, content);
    *hasher.finalize().as_bytes()
}
