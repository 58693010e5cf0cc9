use serde::{Deserialize, Serialize};

use crate::{
    RevisionNumber,
    gateway::{
        AgentId, AgentName, AgentSpec, AgentStatus, ConfigUpdate, VirtualHostId, link::ApplyStatus,
    },
};

/// How a virtual host is on one agent that should serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VirtualHostStatus {
    /// On which agent.
    pub agent_id: AgentId,
    /// What people call that one.
    pub agent_name: AgentName,
    /// How it is there.
    pub state: VirtualHostState,
    /// The virtual host is served there as it was at this revision; nothing where it is not, or
    /// where that is not known.
    pub running_revision: Option<RevisionNumber>,
    /// Which of its fields nginx refuses there; empty for none.
    pub field: String,
    /// Why, in nginx's own words; empty where it is not refused.
    pub error: String,
}

/// How a virtual host is on an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum VirtualHostState {
    /// The agent has proven that it is served as it should be.
    Live,
    /// It has not yet: it is away, at work, or refuses the whole configuration.
    Pending,
    /// nginx refuses it there: its last good version is served.
    HeldBack,
    /// nginx refuses it there, and it never had a good version: it is not served.
    LeftOut,
}

impl VirtualHostStatus {
    /// How it is on an agent of this status, which should serve that.
    pub(crate) fn of(
        id: VirtualHostId,
        agent: &AgentSpec,
        status: &AgentStatus,
        desired: &ConfigUpdate,
    ) -> Self {
        let served = status.serving.as_ref().filter(|it| desired.is_served_as(&it.checksum));
        let held = status.quarantined.iter().find(|it| it.virtual_host() == Some(id));
        let all_told = status.quarantined.len() as u64 >= u64::from(status.quarantined_total);
        let refused = status.last_apply.as_ref().filter(|it| {
            let failed = matches!(it.status, ApplyStatus::Failed | ApplyStatus::RolledBack);
            failed && it.config_id == desired.config_id
        });
        let (field, error) = match (held, refused) {
            (Some(held), _) => (held.field.clone(), held.error.clone()),
            (None, Some(refused)) => (String::new(), refused.error_message.clone()),
            (None, None) => (String::new(), String::new()),
        };
        let instead = held.and_then(|it| it.running_revision);
        let (state, running_revision) = match (served, held) {
            (None, _) => (VirtualHostState::Pending, instead),
            (Some(_), Some(_)) if instead.is_some() => (VirtualHostState::HeldBack, instead),
            (Some(_), Some(_)) => (VirtualHostState::LeftOut, None),
            (Some(served), None) if all_told => (VirtualHostState::Live, Some(served.version)),
            (Some(_), None) => (VirtualHostState::Pending, None),
        };
        let AgentSpec { id: agent_id, name, .. } = agent;
        let (agent_id, agent_name) = (*agent_id, name.clone());
        Self { agent_id, agent_name, state, running_revision, field, error }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::{
        Id, from_json,
        gateway::{ConfigVersion, LastApply, Quarantined, ServedKind},
    };

    fn check(status: &AgentStatus, expected: (VirtualHostState, Option<u64>, &str)) {
        let host = VirtualHostId::from_uuid(uuid::Uuid::from_u128(1));
        let agent = AgentSpec {
            drift: Default::default(),
            id: Id::from_uuid(uuid::Uuid::nil()),
            workspace_id: Id::from_uuid(uuid::Uuid::nil()),
            name: from_json(serde_json::json!("edge")).unwrap(),
            labels: Default::default(),
            revision: RevisionNumber(1),
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let desired = ConfigUpdate {
            drift: Default::default(),
            config_id: "7-abc".into(),
            version: RevisionNumber(7),
            checksum: "abc".into(),
            projection: Default::default(),
        };
        let found = VirtualHostStatus::of(host, &agent, status, &desired);
        let (state, revision, error) = expected;
        let revision = revision.map(RevisionNumber);
        assert_eq!((found.state, found.running_revision, &*found.error), (state, revision, error));
    }

    fn serving(checksum: &str) -> AgentStatus {
        let (version, checksum) = (RevisionNumber(7), checksum.to_owned());
        AgentStatus { serving: Some(ConfigVersion { version, checksum }), ..AgentStatus::default() }
    }

    fn holding(number: u128, running_revision: Option<u64>) -> AgentStatus {
        let held = Quarantined {
            kind: ServedKind::VirtualHost,
            id: uuid::Uuid::from_u128(number),
            name: "shop".into(),
            field: "listen_port".into(),
            error: "no".into(),
            running_revision: running_revision.map(RevisionNumber),
        };
        AgentStatus { quarantined: vec![held], quarantined_total: 1, ..serving("abc-held") }
    }

    #[test]
    fn what_is_proven_is_live_unless_it_is_held_back() {
        use VirtualHostState::{HeldBack, LeftOut, Live, Pending};
        check(&serving("abc"), (Live, Some(7), ""));
        check(&holding(2, None), (Live, Some(7), ""));
        check(&holding(1, Some(3)), (HeldBack, Some(3), "no"));
        check(&holding(1, None), (LeftOut, None, "no"));
        let more_than_told = AgentStatus { quarantined_total: 2, ..holding(2, None) };
        check(&more_than_told, (Pending, None, ""));
    }

    #[test]
    fn what_is_not_proven_is_pending() {
        use VirtualHostState::Pending;
        check(&AgentStatus::default(), (Pending, None, ""));
        check(&serving("abcd"), (Pending, None, ""));
        let mended = AgentStatus { serving: serving("old-held").serving, ..holding(1, Some(3)) };
        check(&mended, (Pending, Some(3), "no"));
        let refused = LastApply {
            config_id: "7-abc".into(),
            version: RevisionNumber(7),
            status: ApplyStatus::Failed,
            error_message: "strict".into(),
            at: DateTime::UNIX_EPOCH,
        };
        check(
            &AgentStatus { last_apply: Some(refused), ..serving("old") },
            (Pending, None, "strict"),
        );
    }
}
