use futures::Stream;
use nxmesh_core::tenancy::{AuditEntry, AuditFilter, OrganizationId};

use crate::{Client, Result, paging, request::Call};

/// Who did what: `client.audit_log()`.
#[derive(Debug, Clone)]
pub struct AuditLog {
    client: Client,
}

impl AuditLog {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The entries of an organization that match, oldest first.
    pub fn list(
        &self,
        of: OrganizationId,
        filter: &AuditFilter,
    ) -> impl Stream<Item = Result<AuditEntry>> + Send + Unpin + use<> {
        let mut call = Call::get(format!("organizations/{of}/audit-log"));
        let AuditFilter { user_id, action, object_id, from, to, .. } = filter;
        call.query.extend(user_id.map(|it| ("user_id", it.to_string())));
        call.query.extend(action.as_ref().map(|it| ("action", it.to_string())));
        call.query.extend(object_id.map(|it| ("object_id", it.to_string())));
        call.query.extend(from.map(|it| ("from", it.to_rfc3339())));
        call.query.extend(to.map(|it| ("to", it.to_rfc3339())));
        paging::items(self.client.clone(), call)
    }
}
