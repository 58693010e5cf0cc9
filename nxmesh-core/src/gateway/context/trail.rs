//! What changes of the area leave behind: pure.

use serde::Serialize;
use serde_json::json;

use crate::{
    Actor, Clock, Id, Trail,
    gateway::{GatewayWrite, Snapshot},
    tenancy::AuditedObject,
    trail::{Became, Deed},
};

/// What these writes to a snapshot leave behind.
pub(crate) fn of(
    actor: &Actor,
    clock: &dyn Clock,
    before: &Snapshot,
    writes: &[GatewayWrite],
) -> Trail {
    let deed = Deed {
        actor,
        clock,
        at: clock.now(),
        organization_id: before.organization_id(),
        workspace_id: Some(before.workspace_id()),
    };
    let revision = before.revision().next();
    let mut trail = Trail::default();
    for write in writes {
        match write {
            GatewayWrite::PutSettings(settings) => {
                let was = json!({"settings": before.settings()});
                let is = json!({"settings": settings});
                let (object, more) =
                    (("workspace", before.workspace_id()), json!({"revision": revision}));
                note(&deed, &mut trail, object, (Some(&was), Some(&is)), more);
            }
            GatewayWrite::PutVirtualHost(host) => {
                let was = before.virtual_hosts().get(&host.id).map(AsRef::as_ref);
                let more = json!({"name": host.spec.name, "revision": revision});
                note(
                    &deed,
                    &mut trail,
                    ("virtual_host", host.id),
                    (was, Some(host.as_ref())),
                    more,
                );
            }
            GatewayWrite::DeleteVirtualHost(id) => {
                let was = before.virtual_hosts().get(id).map(AsRef::as_ref);
                let more = json!({"name": was.map(|it| &it.spec.name), "revision": revision});
                note(&deed, &mut trail, ("virtual_host", *id), (was, None), more);
            }
            GatewayWrite::PutUpstream(upstream) => {
                let was = before.upstreams().get(&upstream.id).map(AsRef::as_ref);
                let more = json!({"name": upstream.spec.name, "revision": revision});
                note(
                    &deed,
                    &mut trail,
                    ("upstream", upstream.id),
                    (was, Some(upstream.as_ref())),
                    more,
                );
            }
            GatewayWrite::DeleteUpstream(id) => {
                let was = before.upstreams().get(id).map(AsRef::as_ref);
                let more = json!({"name": was.map(|it| &it.spec.name), "revision": revision});
                note(&deed, &mut trail, ("upstream", *id), (was, None), more);
            }
            GatewayWrite::PutAgent(agent) => {
                let was = before.agents().get(&agent.id).map(AsRef::as_ref);
                let more = json!({"name": agent.name, "revision": revision});
                note(&deed, &mut trail, ("agent", agent.id), (was, Some(agent.as_ref())), more);
            }
            GatewayWrite::DeleteAgent(id) => {
                let was = before.agents().get(id).map(AsRef::as_ref);
                let more = json!({"name": was.map(|it| &it.name), "revision": revision});
                note(&deed, &mut trail, ("agent", *id), (was, None), more);
            }
        }
    }
    trail
}

fn note<I, T: Serialize>(
    deed: &Deed<'_>,
    trail: &mut Trail,
    (object_type, id): (&str, Id<I>),
    objects: (Option<&T>, Option<&T>),
    more: serde_json::Value,
) {
    let became = match objects {
        (None, Some(after)) => Became::Created(after),
        (Some(before), Some(after)) => Became::Updated(before, after),
        (Some(before), None) => Became::Deleted(before),
        // Nothing was there, and nothing is.
        (None, None) => return,
    };
    deed.note(trail, AuditedObject::new(object_type, id), became, more);
}
