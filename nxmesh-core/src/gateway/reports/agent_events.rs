//! What is told of agents to those who watch: pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    Actor, Clock, Trail,
    events::{EventType, NewEvent},
    gateway::{
        AgentConvergence, AgentId, AgentSpec, AgentStatus, ConfigVersion, Quarantined, Snapshot,
        drift::{
            DriftChange, DriftEnded, DriftFound, DriftPolicy, DriftedFile, MAX_DRIFTED_FILES,
            NewDriftPolicy,
        },
        fleet::Outcome,
        link::{Alert, ApplyStatus, ConfigStatus, MAX_ALERTS, MAX_DRIFT_CHANGES},
    },
    tenancy::{AuditedObject, OrganizationId, WorkspaceId},
    trail::Deed,
};

/// How much of what an agent says is passed on, in characters.
const MAX_TEXT: usize = 2000;

/// Which agent, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) agent_id: AgentId,
    pub(crate) organization_id: OrganizationId,
    pub(crate) workspace_id: WorkspaceId,
}

impl About {
    pub(crate) fn of(agent: &AgentSpec, snapshot: &Snapshot) -> Self {
        Self {
            agent_id: agent.id,
            organization_id: snapshot.organization_id(),
            workspace_id: agent.workspace_id,
        }
    }

    /// It has connected.
    pub(crate) fn connected(self, status: &AgentStatus, now: DateTime<Utc>) -> NewEvent {
        let data = json!({"hostname": status.hostname, "ip_address": status.ip_address});
        self.event(EventType::AGENT_CONNECTED, data, now)
    }

    /// Its connection has ended.
    pub(crate) fn disconnected(self, reason: &str, now: DateTime<Utc>) -> NewEvent {
        self.event(EventType::AGENT_DISCONNECTED, json!({"reason": reason}), now)
    }

    /// It has told what became of a configuration, which took so long, if it was sent just now.
    pub(crate) fn applied(
        self,
        report: &ConfigStatus,
        took: Option<Duration>,
        now: DateTime<Utc>,
    ) -> NewEvent {
        let ConfigStatus { config_id, version, status, error_message, applied_at, .. } = report;
        let mut data = json!({
            "config_id": config_id,
            "version": version,
            "duration_ms": took.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
            "success": *status == ApplyStatus::Success,
            "status": status,
            "happened_at": applied_at,
        });
        if !error_message.is_empty() {
            data["error_message"] = json!(cut(error_message));
        }
        if report.quarantined_total > 0 {
            data["quarantined_total"] = json!(report.quarantined_total);
        }
        self.event(EventType::CONFIG_APPLIED, data, now)
    }

    /// Which virtual hosts it holds back now and did not before, and the other way round. Those
    /// that neither tells of are unknown.
    pub(crate) fn quarantined(
        self,
        before: &[Quarantined],
        after: &[Quarantined],
        now: DateTime<Utc>,
    ) -> Vec<NewEvent> {
        let is_in = |list: &[Quarantined], it: &Quarantined| {
            list.iter().any(|other| other.is_same_object(it))
        };
        let held = after.iter().filter(|it| !is_in(before, it)).filter_map(|it| {
            let Quarantined { name, field, error, running_revision, .. } = it;
            let mut data = json!({
                "virtual_host_id": it.virtual_host()?,
                "name": name,
                "error": error,
                "running_revision": running_revision,
            });
            if !field.is_empty() {
                data["field"] = json!(field);
            }
            Some(self.event(EventType::VIRTUAL_HOST_QUARANTINED, data, now))
        });
        let released = before.iter().filter(|it| !is_in(after, it)).filter_map(|it| {
            let data = json!({"virtual_host_id": it.virtual_host()?, "name": it.name});
            Some(self.event(EventType::VIRTUAL_HOST_RELEASED, data, now))
        });
        held.chain(released).collect()
    }

    /// It has been behind for too long.
    pub(crate) fn lagging(self, lag: &AgentConvergence, now: DateTime<Utc>) -> NewEvent {
        let AgentConvergence { behind_since, desired, verified, attempts, error, .. } = lag;
        let mut data = json!({
            "behind_since": behind_since,
            "desired": desired,
            "verified": verified,
            "attempts": attempts,
        });
        if let Some(error) = error {
            data["error_message"] = json!(cut(error));
        }
        self.event(EventType::AGENT_LAGGING, data, now)
    }

    /// It has caught up after that.
    pub(crate) fn converged(
        self,
        serves: Option<&ConfigVersion>,
        behind_for: Duration,
        now: DateTime<Utc>,
    ) -> NewEvent {
        let data = json!({
            "revision": serves.map(|it| it.version),
            "checksum": serves.map(|it| it.checksum.as_str()),
            "behind_seconds": behind_for.as_secs(),
        });
        self.event(EventType::AGENT_CONVERGED, data, now)
    }

    /// It has told of trouble.
    pub(crate) fn alerts(self, alerts: &[Alert], now: DateTime<Utc>) -> Vec<NewEvent> {
        let alert = |it: &Alert| {
            let Alert { id, severity, message, metric, value, timestamp } = it;
            let mut data = json!({
                "alert_id": cut(id),
                "severity": severity,
                "message": cut(message),
                "happened_at": timestamp,
            });
            if let Some(metric) = metric {
                data["metric"] = json!(cut(metric));
            }
            if let Some(value) = value {
                data["value"] = json!(value);
            }
            self.event(EventType::HEALTH_ALERT, data, now)
        };
        alerts.iter().take(MAX_ALERTS).map(alert).collect()
    }

    /// It has told what became of a drift.
    pub(crate) fn drifted(self, changes: &[DriftChange], policy: DriftPolicy) -> Vec<NewEvent> {
        let event = |it: &DriftChange| match it {
            DriftChange::Found(DriftFound { at, files, total }) => {
                let named = |it: &DriftedFile| json!({"path": cut(&it.path), "kind": it.kind});
                let files: Vec<_> = files.iter().take(MAX_DRIFTED_FILES).map(named).collect();
                let data = json!({"policy": policy_name(policy), "files": files, "total": total});
                self.event(EventType::AGENT_DRIFT_DETECTED, data, *at)
            }
            DriftChange::Ended(DriftEnded { at, by }) => {
                self.event(EventType::AGENT_DRIFT_RESTORED, json!({"by": by}), *at)
            }
        };
        changes.iter().take(MAX_DRIFT_CHANGES).map(event).collect()
    }

    /// Somebody had it reload.
    pub(crate) fn reloaded(self, actor: &Actor, outcome: &Outcome, clock: &dyn Clock) -> Trail {
        let Self { agent_id, organization_id, workspace_id } = self;
        let at = clock.now();
        let deed = Deed { actor, clock, at, organization_id, workspace_id: Some(workspace_id) };
        let Outcome { success, message } = outcome;
        let came_to = json!({"success": success, "message": cut(message)});
        let mut trail = Trail::default();
        let object = AuditedObject::new("agent", agent_id);
        deed.note_as(
            &mut trail,
            object,
            "reloaded",
            (None, Some(&came_to)),
            json!({"success": success}),
        );
        trail
    }

    fn event(self, event_type: &str, data: Value, now: DateTime<Utc>) -> NewEvent {
        let mut all = Map::new();
        all.insert("agent_id".to_owned(), json!(self.agent_id));
        if let Value::Object(data) = data {
            all.extend(data);
        }
        NewEvent {
            event_type: EventType::new(event_type),
            timestamp: now,
            organization_id: self.organization_id,
            workspace_id: Some(self.workspace_id),
            data: all,
        }
    }
}

fn policy_name(policy: DriftPolicy) -> Option<String> {
    NewDriftPolicy::from(policy).policy
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| &text[..end])
}
