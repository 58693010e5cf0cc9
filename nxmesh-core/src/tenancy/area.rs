use std::sync::Arc;

use crate::{
    Actor, Clock, Error, ErrorKind, Result, TokenHash, Trail,
    cache::Cache,
    tenancy::{
        ApiKey, ApiKeys, AuditLog, Auth, MasterKey, Members, OrganizationId, Organizations, Role,
        SigningKey, TenancyChange, TenancyStore, UserId, Users, Workspace, WorkspaceId, Workspaces,
    },
    trail::Deed,
};

/// How many answers of each kind are at hand at most.
const MAX_AT_HAND: usize = 4096;

/// What all operations of the area stand on: each call has a handle of its own, so a copy costs
/// next to nothing.
pub(crate) type Context = Arc<Shared>;

/// See [`Context`].
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn TenancyStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) signing_key: SigningKey,
    pub(crate) at_hand: AtHand,
}

/// What most calls ask for.
#[derive(Debug)]
pub(crate) struct AtHand {
    pub(crate) workspaces: Cache<(WorkspaceId, UserId), Arc<(Workspace, Role)>>,
    pub(crate) api_keys: Cache<TokenHash, ApiKey>,
    /// Whose access tokens were found to be ours, and when they end; of the tokens themselves
    /// there is only the hash. They hold whatever is changed.
    pub(crate) access_tokens: Cache<TokenHash, (UserId, i64)>,
}

impl Default for AtHand {
    fn default() -> Self {
        Self {
            workspaces: Cache::new(MAX_AT_HAND),
            api_keys: Cache::new(MAX_AT_HAND),
            access_tokens: Cache::new(MAX_AT_HAND),
        }
    }
}

impl Shared {
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
        let at_hand = AtHand::default();
        Ok(Self { context: Arc::new(Shared { store, clock, signing_key, at_hand }) })
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
