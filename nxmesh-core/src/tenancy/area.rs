use std::sync::Arc;

use crate::{
    Actor, Clock, Error, ErrorKind, Result, Trail,
    tenancy::{
        ApiKeys, AuditLog, Auth, MasterKey, Members, OrganizationId, Organizations, SigningKey,
        TenancyChange, TenancyStore, Users, Workspaces,
    },
    trail::Deed,
};

/// What all operations of the area stand on.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) store: Arc<dyn TenancyStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) signing_key: SigningKey,
}

impl Context {
    /// Something that an actor does now in an organization.
    pub(crate) fn deed<'a>(
        &'a self,
        actor: &'a Actor,
        organization_id: OrganizationId,
    ) -> Deed<'a> {
        let (clock, at) = (self.clock.as_ref(), self.clock.now());
        Deed { actor, clock, at, organization_id, workspace_id: None }
    }
}

/// The handle of the area: `mesh.tenancy()`.
#[derive(Debug, Clone)]
pub struct Tenancy {
    context: Context,
}

impl Tenancy {
    pub(crate) async fn open(
        store: Arc<dyn TenancyStore>,
        clock: Arc<dyn Clock>,
        master: &MasterKey,
    ) -> Result<Self> {
        let signing_key = signing_key(store.as_ref(), clock.as_ref(), master).await?;
        Ok(Self { context: Context { store, clock, signing_key } })
    }

    /// Logging in, and proving it.
    #[must_use]
    pub fn auth(&self) -> Auth {
        Auth::new(self.context.clone())
    }

    /// The people.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(self.context.clone())
    }

    /// What programs log in with.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.context.clone())
    }

    /// Who did what.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.context.clone())
    }

    /// Who belongs to organizations.
    #[must_use]
    pub fn members(&self) -> Members {
        Members::new(self.context.clone())
    }

    /// The organizations.
    #[must_use]
    pub fn organizations(&self) -> Organizations {
        Organizations::new(self.context.clone())
    }

    /// The workspaces.
    #[must_use]
    pub fn workspaces(&self) -> Workspaces {
        Workspaces::new(self.context.clone())
    }

    pub(crate) const fn context(&self) -> &Context {
        &self.context
    }
}

/// The key in the store; the first who comes makes it.
async fn signing_key(
    store: &dyn TenancyStore,
    clock: &dyn Clock,
    master: &MasterKey,
) -> Result<SigningKey> {
    loop {
        if let Some(stored) = store.signing_key().await? {
            let master = master.clone();
            return blocking(move || SigningKey::open(&stored, &master)).await;
        }
        let made = blocking(SigningKey::generate).await?;
        let change = TenancyChange::CreateSigningKey { key: made.seal(master)?, now: clock.now() };
        match store.commit(change, Trail::default()).await {
            Ok(()) => return Ok(made),
            // Another server was faster: take its key.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "making the signing key was interrupted").with_source(error)
    })?
}
