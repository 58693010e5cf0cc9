use axum::{Json, extract::State};
use nxmesh_core::{
    Mesh, Page,
    events::EventType,
    tenancy::{AuditEntry, AuditFilter, Organization},
};

use crate::http::{ApiError, Authenticated, IdPath, ListQuery};

pub(super) async fn list(
    State(mesh): State<Mesh>,
    Authenticated(actor): Authenticated,
    IdPath(of): IdPath<Organization>,
    query: ListQuery,
) -> Result<Json<Page<AuditEntry>>, ApiError> {
    let mut filter = AuditFilter::default();
    filter.user_id = query.id("user_id")?;
    filter.object_id = query.id("object_id")?.map(|it: nxmesh_core::Id<()>| *it.as_uuid());
    filter.action = query.get("action", |it| Ok(EventType::new(it)))?;
    filter.from = query.time("from")?;
    filter.to = query.time("to")?;
    Ok(Json(mesh.tenancy().audit_log().list(&actor, of, &filter, query.page()?).await?))
}
