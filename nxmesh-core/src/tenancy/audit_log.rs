use crate::{
    Actor, Page, PageRequest, Result,
    tenancy::{AuditEntry, AuditFilter, Context, OrganizationId, Organizations, Permission},
};

/// Who did what: `mesh.tenancy().audit_log()`.
#[derive(Debug, Clone)]
pub struct AuditLog {
    context: Context,
}

impl AuditLog {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// The entries of an organization that match, in order of time.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such organization,
    /// [`Forbidden`](crate::ErrorKind::Forbidden).
    pub async fn list(
        &self,
        actor: &Actor,
        of: OrganizationId,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>> {
        let organizations = Organizations::new(self.context.clone());
        organizations.held(actor, of, Permission::ReadAudit).await?;
        self.context.store.audit_log(of, filter, page).await
    }
}
