//! How values stand in the columns of a database.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    Error, ErrorKind, Id, Result, Revision, Trail,
    gateway::{GatewayWrite, Rollout, RolloutState},
    tenancy::{AuditEntry, Role, WorkspaceId},
};

/// A value as JSON.
pub(super) fn to_body(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot write a row as JSON").with_source(error)
    })
}

pub(super) fn from_body<T: DeserializeOwned>(body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(corrupt)
}

/// A time as microseconds since 1970.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

pub(super) fn time(micros: i64) -> Result<DateTime<Utc>> {
    let bad = || Error::new(ErrorKind::Corrupt, "a stored time is out of range");
    DateTime::from_timestamp_micros(micros).ok_or_else(bad)
}

/// A count or a version.
pub(super) fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "a number is too large to store").with_source(error)
    })
}

/// A role as it is written.
pub(super) fn role(text: &str) -> Result<Role> {
    let unknown =
        || Error::new(ErrorKind::Corrupt, "a stored role is none that this program knows");
    Role::parse(text).ok_or_else(unknown)
}

pub(super) fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Corrupt, "a stored row cannot be read").with_source(error)
}

/// A write as the history keeps it. A body that is missing is a removal.
pub(super) struct WriteRow {
    pub(super) kind: &'static str,
    pub(super) object_id: Uuid,
    /// When an object that is put was made; what is removed has no need of it.
    pub(super) created_at: i64,
    pub(super) body: Option<String>,
}

pub(super) const SETTINGS: &str = "settings";
pub(super) const VIRTUAL_HOST: &str = "virtual_host";
pub(super) const UPSTREAM: &str = "upstream";
pub(super) const AGENT: &str = "agent";

impl WriteRow {
    pub(super) fn of(workspace: WorkspaceId, write: &GatewayWrite) -> Result<Self> {
        let (kind, object_id, put) = match write {
            GatewayWrite::PutSettings(settings) => {
                (SETTINGS, workspace.as_uuid(), Some((0, to_body(settings)?)))
            }
            GatewayWrite::PutVirtualHost(host) => {
                (VIRTUAL_HOST, host.id.as_uuid(), Some((micros(host.created_at), to_body(host)?)))
            }
            GatewayWrite::DeleteVirtualHost(id) => (VIRTUAL_HOST, id.as_uuid(), None),
            GatewayWrite::PutUpstream(upstream) => {
                let put = (micros(upstream.created_at), to_body(upstream)?);
                (UPSTREAM, upstream.id.as_uuid(), Some(put))
            }
            GatewayWrite::DeleteUpstream(id) => (UPSTREAM, id.as_uuid(), None),
            GatewayWrite::PutAgent(agent) => {
                (AGENT, agent.id.as_uuid(), Some((micros(agent.created_at), to_body(agent)?)))
            }
            GatewayWrite::DeleteAgent(id) => (AGENT, id.as_uuid(), None),
        };
        let (created_at, body) = put.unzip();
        let created_at = created_at.unwrap_or_default();
        Ok(Self { kind, object_id: *object_id, created_at, body })
    }
}

/// A revision with its writes, ready to be stored.
pub(super) struct RevisionRows {
    #[cfg(feature = "sqlite")]
    pub(super) workspace_id: WorkspaceId,
    pub(super) number: i64,
    pub(super) body: String,
    pub(super) writes: Vec<WriteRow>,
}

impl RevisionRows {
    pub(super) fn of(revision: &Revision, writes: &[GatewayWrite]) -> Result<Self> {
        let workspace_id = revision.workspace_id;
        let rows = writes.iter().map(|it| WriteRow::of(workspace_id, it));
        Ok(Self {
            #[cfg(feature = "sqlite")]
            workspace_id,
            number: number(revision.number.0)?,
            body: to_body(revision)?,
            writes: rows.collect::<Result<_>>()?,
        })
    }
}

/// A rollout, ready to be stored.
pub(super) struct RolloutRow {
    pub(super) id: Uuid,
    pub(super) workspace_id: Uuid,
    pub(super) version: i64,
    pub(super) state: &'static str,
    pub(super) revision: i64,
    pub(super) staged_since: i64,
    pub(super) body: String,
}

/// The state of a rollout that may still change.
pub(super) const UNDER_WAY: &str = "under_way";
/// The state of a rollout whose revision was released.
pub(super) const COMPLETED: &str = "completed";

impl RolloutRow {
    pub(super) fn of(rollout: &Rollout) -> Result<Self> {
        Ok(Self {
            id: *rollout.id.as_uuid(),
            workspace_id: *rollout.workspace_id.as_uuid(),
            version: number(rollout.version)?,
            state: match rollout.state {
                RolloutState::Running | RolloutState::Paused => UNDER_WAY,
                RolloutState::Completed => COMPLETED,
                RolloutState::Halted | RolloutState::Aborted => "over",
            },
            revision: number(rollout.revision.0)?,
            staged_since: number(rollout.staged_since.0)?,
            body: to_body(rollout)?,
        })
    }
}

/// What a change leaves behind, ready to be stored.
#[derive(Debug, Default)]
pub(super) struct TrailRows {
    pub(super) entries: Vec<EntryRow>,
    /// The bodies of events.
    pub(super) events: Vec<String>,
}

/// An entry of the audit log, with what it is looked for by.
#[derive(Debug, Serialize)]
pub(super) struct EntryRow {
    pub(super) id: Uuid,
    pub(super) organization_id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) action: String,
    pub(super) object_id: Uuid,
    pub(super) created_at: i64,
    pub(super) body: String,
}

impl TrailRows {
    pub(super) fn of(trail: &Trail) -> Result<Self> {
        Self::of_all([trail])
    }

    pub(super) fn of_all<'a>(trails: impl IntoIterator<Item = &'a Trail>) -> Result<Self> {
        let mut rows = Self::default();
        for Trail { entries, events } in trails {
            for entry in entries {
                rows.entries.push(EntryRow::of(entry)?);
            }
            for event in events {
                rows.events.push(to_body(event)?);
            }
        }
        Ok(rows)
    }
}

impl EntryRow {
    fn of(entry: &AuditEntry) -> Result<Self> {
        Ok(Self {
            id: *entry.id.as_uuid(),
            organization_id: *entry.organization_id.as_uuid(),
            user_id: *entry.user_id.as_uuid(),
            action: entry.action.to_string(),
            object_id: entry.object.object_id,
            created_at: micros(entry.created_at),
            body: to_body(entry)?,
        })
    }
}

/// What a row of the history, or of an object, wrote.
pub(super) fn to_write(kind: &str, object_id: Uuid, body: Option<&str>) -> Result<GatewayWrite> {
    Ok(match (kind, body) {
        (SETTINGS, Some(body)) => GatewayWrite::PutSettings(Arc::new(from_body(body)?)),
        (VIRTUAL_HOST, Some(body)) => GatewayWrite::PutVirtualHost(Arc::new(from_body(body)?)),
        (VIRTUAL_HOST, None) => GatewayWrite::DeleteVirtualHost(Id::from_uuid(object_id)),
        (UPSTREAM, Some(body)) => GatewayWrite::PutUpstream(Arc::new(from_body(body)?)),
        (UPSTREAM, None) => GatewayWrite::DeleteUpstream(Id::from_uuid(object_id)),
        (AGENT, Some(body)) => GatewayWrite::PutAgent(Arc::new(from_body(body)?)),
        (AGENT, None) => GatewayWrite::DeleteAgent(Id::from_uuid(object_id)),
        (kind, _) => {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("the history has an unknown kind of row, {kind}"),
            ));
        }
    })
}
