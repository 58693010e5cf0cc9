//! What is told of rollouts to those who watch: pure.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Rollout, steps::Told};
use crate::{
    events::{EventType, NewEvent},
    tenancy::OrganizationId,
};

/// What a step leaves behind.
pub(in crate::gateway) fn events(
    rollout: &Rollout,
    of: OrganizationId,
    told: &[Told],
    now: DateTime<Utc>,
) -> Vec<NewEvent> {
    told.iter().map(|it| event(rollout, of, *it, now)).collect()
}

/// What is said of a rollout whatever became of it.
pub(in crate::gateway) fn about(rollout: &Rollout) -> Value {
    json!({"revision": rollout.revision, "state": rollout.state, "reason": rollout.reason})
}

fn event(rollout: &Rollout, of: OrganizationId, told: Told, now: DateTime<Utc>) -> NewEvent {
    let (event_type, wave) = match told {
        Told::WaveStarted(at) => (EventType::ROLLOUT_WAVE_STARTED, Some(at)),
        Told::WaveFinished(at) => (EventType::ROLLOUT_WAVE_FINISHED, Some(at)),
        Told::Halted => (EventType::ROLLOUT_HALTED, None),
        Told::Completed => (EventType::ROLLOUT_COMPLETED, None),
        Told::Aborted => (EventType::ROLLOUT_ABORTED, None),
    };
    let mut data = Map::new();
    data.insert("rollout_id".to_owned(), json!(rollout.id));
    if let Value::Object(more) = about(rollout) {
        data.extend(more);
    }
    if let Some((at, wave)) = wave.and_then(|at| Some((at, rollout.waves.get(at)?))) {
        data.insert("wave".to_owned(), json!(at));
        data.insert("agents".to_owned(), json!(wave.figures.agents));
    }
    NewEvent {
        event_type: EventType::new(event_type),
        timestamp: now,
        organization_id: of,
        workspace_id: Some(rollout.workspace_id),
        data,
    }
}
