use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    RevisionNumber,
    gateway::{
        AgentId, ObjectChange, RenderedFor,
        config::{Facts, comparable, file_changes},
        project::Published,
    },
    tenancy::Delivery,
};

/// What a change set would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangePreview {
    /// The revision that it would be made on.
    pub base: RevisionNumber,
    /// When agents would get it: `immediate`, or `staged`, and then nothing of it reaches an agent
    /// before a rollout brings it.
    #[serde(default)]
    pub delivery: Delivery,
    /// The objects before and after, in the order that was asked. Those that would be created
    /// have an id that is good for this answer only.
    pub objects: Vec<ObjectChange>,
    /// The files that would change against those of the revision it would be made on, by agents. Agents that see the same, and have the same
    /// nginx, share one entry; those that would not get a new configuration have none.
    pub agents: Vec<AgentDiff>,
    /// Agents that would get a new configuration too, beyond the first 100 different diffs.
    pub further_agent_ids: Vec<AgentId>,
}

/// The files that would change on some agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentDiff {
    /// On which.
    pub agent_ids: Vec<AgentId>,
    /// For which nginx they were rendered.
    pub nginx: RenderedFor,
    /// The files, without the line of `nginx.conf` in which it says its version. None when only
    /// that would change.
    pub files: Vec<FileChange>,
}

/// How a file changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileChange {
    /// Its path from the folder of the configuration.
    pub path: String,
    /// A unified diff.
    pub diff: String,
}

impl ChangePreview {
    /// How many different diffs are shown.
    pub const MAX_DIFFS: usize = 100;
}

/// The files that differ between two states, by agents, and the agents that are not shown.
pub(in crate::gateway) fn agent_diffs(
    before: &Published,
    after: &Published,
    facts: &HashMap<AgentId, Facts>,
) -> (Vec<AgentDiff>, Vec<AgentId>) {
    let unknown = Facts::reference();
    let mut known = HashMap::new();
    let (mut diffs, mut further) = (Vec::<AgentDiff>::new(), Vec::new());
    for id in after.snapshot.agents().keys() {
        let (Some(one), Some(other)) = (before.update_for(*id), after.update_for(*id)) else {
            continue;
        };
        if one.checksum == other.checksum {
            continue;
        }
        let facts = facts.get(id).unwrap_or(&unknown);
        let key = (one.checksum.clone(), other.checksum.clone(), facts);
        if let Some(at) = known.get(&key).copied() {
            let diff: &mut AgentDiff = &mut diffs[at];
            diff.agent_ids.push(*id);
        } else if diffs.len() == ChangePreview::MAX_DIFFS {
            further.push(*id);
        } else {
            known.insert(key, diffs.len());
            let (one, other) = (
                comparable(&one.projection, &facts.nginx),
                comparable(&other.projection, &facts.nginx),
            );
            let (agent_ids, nginx) = (vec![*id], facts.show());
            diffs.push(AgentDiff { agent_ids, nginx, files: file_changes(&one, &other) });
        }
    }
    (diffs, further)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        Id, from_json,
        gateway::{
            AgentName, AgentSpec, GatewayWrite, NewVirtualHost, Snapshot, TargetAgents, VirtualHost,
        },
    };

    /// Agents, and a virtual host of its own on each of those from the second on.
    fn published(agents: u128, name: &str) -> Published {
        let (workspace_id, revision, now) =
            (Id::from_uuid(Uuid::nil()), RevisionNumber(1), DateTime::UNIX_EPOCH);
        let (created_at, updated_at) = (now, now);
        let mut writes = Vec::new();
        for at in 0..agents {
            let uuid = Uuid::from_u128(at);
            let id = Id::from_uuid(uuid);
            let (name_of, labels) = (AgentName::parse("a").unwrap(), Default::default());
            writes.push(GatewayWrite::PutAgent(Arc::new(AgentSpec {
                id,
                workspace_id,
                name: name_of,
                labels,
                drift: Default::default(),
                revision,
                created_at,
                updated_at,
            })));
            let body = json!({"name": name, "server_name": format!("{name}{at}.example"), "listen_port": 80, "locations": [{"path": "/", "root": "/srv"}]});
            let (spec, _) =
                from_json::<NewVirtualHost>(body).and_then(NewVirtualHost::parse).unwrap();
            let host = VirtualHost {
                id: Id::from_uuid(uuid),
                workspace_id,
                spec: Arc::new(spec),
                target_agents: TargetAgents::Agents { agent_ids: vec![id] },
                revision,
                created_at,
                updated_at,
            };
            if at > 0 {
                writes.push(GatewayWrite::PutVirtualHost(Arc::new(host)));
            }
        }
        let mut snapshot = Snapshot::empty(workspace_id, Id::from_uuid(Uuid::nil()));
        snapshot.apply(revision, writes);
        Published::new(Arc::new(snapshot))
    }

    #[test]
    fn no_more_than_a_hundred_diffs_are_shown_and_all_agents_are_named() {
        let (before, after) = (published(103, "before"), published(103, "after"));
        let (diffs, further) = agent_diffs(&before, &after, &HashMap::new());
        let shown: Vec<_> = diffs.iter().flat_map(|it| it.agent_ids.clone()).collect();
        let all = (1..103).map(|at| Id::from_uuid(Uuid::from_u128(at))).collect::<Vec<_>>();
        assert_eq!((shown.as_slice(), further.as_slice()), (&all[..100], &all[100..]));
        assert!(diffs[0].files[0].diff.contains("+    server_name after1.example;"));
        assert!(agent_diffs(&before, &before, &HashMap::new()).0.is_empty());
    }
}
