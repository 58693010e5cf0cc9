use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Actor, Clock,
    clock::new_id,
    events::{EventType, NewEvent},
    tenancy::{AuditEntry, AuditedObject, OrganizationId, WorkspaceId},
};

/// What a change leaves behind for people: recorded with it, or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail {
    /// For those who ask who did what.
    pub entries: Vec<AuditEntry>,
    /// For those who watch.
    pub events: Vec<NewEvent>,
}

impl Trail {
    /// Events only.
    #[must_use]
    pub const fn of_events(events: Vec<NewEvent>) -> Self {
        Self { entries: Vec::new(), events }
    }

    /// Whether nothing is left behind.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.events.is_empty()
    }
}

/// Somebody doing something: what all that is left of it has in common.
#[derive(Debug)]
pub(crate) struct Deed<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) at: DateTime<Utc>,
    pub(crate) organization_id: OrganizationId,
    pub(crate) workspace_id: Option<WorkspaceId>,
}

/// What became of an object.
#[derive(Debug)]
pub(crate) enum Became<'a, T> {
    Created(&'a T),
    Updated(&'a T, &'a T),
    Deleted(&'a T),
}

impl<T> Clone for Became<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Became<'_, T> {}

impl<'a, T> Became<'a, T> {
    /// The object as it is now, or was at last.
    pub(crate) const fn now(self) -> &'a T {
        match self {
            Self::Created(it) | Self::Updated(_, it) | Self::Deleted(it) => it,
        }
    }
}

impl Deed<'_> {
    /// What one change of one object leaves behind.
    pub(crate) fn trail<T: Serialize>(
        &self,
        object: AuditedObject,
        became: Became<'_, T>,
        more: Value,
    ) -> Trail {
        let mut trail = Trail::default();
        self.note(&mut trail, object, became, more);
        trail
    }

    /// Notes what became of an object; `more` is what watchers are told beside its id.
    pub(crate) fn note<T: Serialize>(
        &self,
        trail: &mut Trail,
        object: AuditedObject,
        became: Became<'_, T>,
        more: Value,
    ) {
        let (verb, before, after) = match became {
            Became::Created(after) => ("created", None, Some(after)),
            Became::Updated(before, after) => ("updated", Some(before), Some(after)),
            Became::Deleted(before) => ("deleted", Some(before), None),
        };
        self.note_as(trail, object, verb, (before, after), more);
    }

    /// The same by another verb: `api_key.revoked`.
    pub(crate) fn note_as<T: Serialize>(
        &self,
        trail: &mut Trail,
        object: AuditedObject,
        verb: &str,
        (before, after): (Option<&T>, Option<&T>),
        more: Value,
    ) {
        let AuditedObject { object_type, object_id } = &object;
        let action = EventType::new(format!("{object_type}.{verb}"));
        let mut data = Map::new();
        data.insert(format!("{object_type}_id"), json!(object_id));
        data.insert("user_id".to_owned(), json!(self.actor.user_id()));
        if let Value::Object(more) = more {
            data.extend(more);
        }
        trail.events.push(NewEvent {
            event_type: action.clone(),
            timestamp: self.at,
            organization_id: self.organization_id,
            workspace_id: self.workspace_id,
            data,
        });
        let (before, after) = crate::redact::difference(before, after);
        trail.entries.push(AuditEntry {
            id: new_id(self.clock),
            organization_id: self.organization_id,
            workspace_id: self.workspace_id,
            user_id: self.actor.user_id(),
            api_key_id: self.actor.api_key(),
            request_id: self.actor.request_id().map(str::to_owned),
            action,
            object,
            created_at: self.at,
            before,
            after,
        });
    }
}
