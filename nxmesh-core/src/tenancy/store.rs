use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    Page, PageRequest, Result, Revision, RevisionNumber, TokenHash, Trail,
    tenancy::{
        ApiKey, ApiKeyId, AuditEntry, AuditFilter, Email, Member, Organization, OrganizationId,
        PasswordHash, Role, SealedSigningKey, User, UserId, Workspace, WorkspaceId,
    },
};

/// What the tenancy area asks of a database.
///
/// Reads see every change that was answered before they began. A call whose future is
/// dropped is done whole or not at all, and harms no later call. A change that fails and may
/// have been made all the same says so ([`Error::undecided`](crate::Error::undecided)).
#[async_trait]
pub trait TenancyStore: Debug + Send + Sync + 'static {
    /// `None` when there is no such user.
    async fn user(&self, id: UserId) -> Result<Option<User>>;

    /// The user with this address, in any case.
    async fn user_by_email(&self, email: &Email) -> Result<Option<User>>;

    /// Whether there is any user.
    async fn has_users(&self) -> Result<bool>;

    /// An organization, and what `member` is in it; `None` when there is no such organization,
    /// or they do not belong to it.
    async fn organization(
        &self,
        id: OrganizationId,
        member: UserId,
    ) -> Result<Option<(Organization, Role)>>;

    /// Those that `member` belongs to, in order of creation, then id.
    async fn organizations(&self, member: UserId, page: PageRequest) -> Result<Page<Organization>>;

    /// A workspace, and what `member` is in its organization; `None` when there is no such
    /// workspace, or they do not belong to that.
    async fn workspace(&self, id: WorkspaceId, member: UserId)
    -> Result<Option<(Workspace, Role)>>;

    /// What a user is in an organization; `None` when they do not belong to it.
    async fn role(&self, user: UserId, of: OrganizationId) -> Result<Option<Role>>;

    /// How many owners an organization has.
    async fn owners(&self, of: OrganizationId) -> Result<u64>;

    /// Those of an organization, in order of their ids.
    async fn members(&self, of: OrganizationId, page: PageRequest) -> Result<Page<Member>>;

    /// The number of the last revision; `None` when there is no such workspace.
    async fn workspace_head(&self, id: WorkspaceId) -> Result<Option<RevisionNumber>>;

    /// In order of creation, then id.
    async fn workspaces(&self, of: OrganizationId, page: PageRequest) -> Result<Page<Workspace>>;

    /// `None` when there is no such API key.
    async fn api_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>>;

    /// The API key with this hash, expired or not.
    async fn api_key_by_hash(&self, hash: &TokenHash) -> Result<Option<ApiKey>>;

    /// Those of an organization, or of one maker in it, in order of creation, then id.
    async fn api_keys(
        &self,
        of: OrganizationId,
        maker: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<ApiKey>>;

    /// The entries of an organization that match, in order of time, then id. They outlive what
    /// they are about.
    async fn audit_log(
        &self,
        of: OrganizationId,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>>;

    /// The refresh token with this hash, used or not.
    async fn refresh_token(&self, hash: &TokenHash) -> Result<Option<RefreshToken>>;

    /// The key that signs access tokens; the oldest, should there be several.
    async fn signing_key(&self) -> Result<Option<SealedSigningKey>>;

    /// Applies all of `change` and records its trail, or nothing. New users, logins and signing
    /// keys leave none: [`TenancyChange::leaves_trail`].
    async fn commit(&self, change: TenancyChange, trail: Trail) -> Result<()>;

    /// Drops entries of the audit log that were made before then. Answers how many.
    async fn drop_audit_entries(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Drops refresh tokens and API keys that expired before then. Answers how many.
    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Counts changes that leave a trail, and those of settings that the gateway area makes, each
    /// after it can be read and before it is answered: what was read when this stood at a number holds for as long as it stands there.
    /// `None` where other processes make changes too.
    fn changes(&self) -> Option<u64>;
}

/// A refresh token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// What is left of the token itself.
    pub hash: TokenHash,
    /// All tokens that came from one login.
    pub family: Uuid,
    /// Whose it is.
    pub user_id: UserId,
    /// Until when it can be used.
    pub expires_at: DateTime<Utc>,
    /// Whether it was used: it works once.
    pub used: bool,
}

/// What becomes of what is in something that is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cascade {
    /// It must be empty.
    #[default]
    Refuse,
    /// All of it is removed too.
    Children,
}

/// One change of the tenancy area.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TenancyChange {
    /// `Conflict` when there is a user at all.
    CreateFirstUser(User),
    /// `Conflict` when the address is taken.
    CreateUser(User),
    /// A new password; all refresh tokens of the user are gone. `NotFound` when there is no such
    /// user.
    SetPassword {
        /// Whose.
        user: UserId,
        /// The hash.
        password: PasswordHash,
    },
    /// `NotFound` when the organization or the user is gone.
    CreateApiKey {
        /// The key.
        key: ApiKey,
        /// What is left of its text.
        hash: TokenHash,
    },
    /// `NotFound` when it is gone already.
    DeleteApiKey(ApiKeyId),
    /// `Conflict` when the slug is taken; `NotFound` when there is no such owner.
    CreateOrganization {
        /// The organization.
        organization: Organization,
        /// Its first member, with the role [`Owner`](Role::Owner).
        owner: UserId,
    },
    /// `Stale` when the organization is not at version `base`, `Conflict` when the slug is taken.
    UpdateOrganization {
        /// The organization as it shall be.
        organization: Organization,
        /// The version it was read at.
        base: u64,
    },
    /// `Conflict` when it has workspaces that do not go with it, `Stale` when it is not at
    /// version `base`.
    DeleteOrganization {
        /// Which.
        id: OrganizationId,
        /// The version it was read at.
        base: u64,
        /// Whether its workspaces go with it, with all that is in them.
        cascade: Cascade,
    },
    /// `Stale` when the organization is not at version `base`, `NotFound` when it or the user is
    /// gone. Takes the organization one version further.
    SetMember {
        /// Of which organization.
        organization: OrganizationId,
        /// The version it was read at.
        base: u64,
        /// Who.
        user: UserId,
        /// What they are from now on; `None` to remove them.
        role: Option<Role>,
    },
    /// `Conflict` when the slug is taken in its organization, `NotFound` when that is gone.
    CreateWorkspace {
        /// The workspace.
        workspace: Workspace,
        /// Its first revision, which writes its settings; `None` when it begins with none.
        revision: Option<Revision>,
    },
    /// `Stale` when the workspace has left `base`, `Conflict` when the slug is taken.
    UpdateWorkspace {
        /// The workspace as it shall be.
        workspace: Workspace,
        /// The head revision this is based on.
        base: RevisionNumber,
        /// The new head.
        revision: Revision,
    },
    /// `Conflict` when it has agents that do not go with it, `Stale` when the workspace itself
    /// was changed after revision `base`. Takes its virtual hosts, upstreams and revisions along.
    DeleteWorkspace {
        /// Which.
        id: WorkspaceId,
        /// [`Workspace::revision`] as it was read.
        base: RevisionNumber,
        /// Whether its agents go with it.
        cascade: Cascade,
    },
    /// A login: the first token of its family. `NotFound` when there is no such user.
    AddRefreshToken(RefreshToken),
    /// `Conflict` when `used` was used already or is gone; `NotFound` when there is no such user.
    RotateRefreshToken {
        /// The token that was presented.
        used: TokenHash,
        /// The token that takes its place.
        next: RefreshToken,
    },
    /// Removes all tokens of a family; none is fine too.
    RevokeFamily(Uuid),
    /// `Conflict` when there is one already.
    CreateSigningKey {
        /// The key.
        key: SealedSigningKey,
        /// The time.
        now: DateTime<Utc>,
    },
}

impl TenancyChange {
    /// Whether this is a change that people of an organization are told of.
    #[must_use]
    pub const fn leaves_trail(&self) -> bool {
        match self {
            Self::CreateFirstUser(_)
            | Self::CreateUser(_)
            | Self::AddRefreshToken(_)
            | Self::RotateRefreshToken { .. }
            | Self::RevokeFamily(_)
            | Self::CreateSigningKey { .. } => false,
            Self::SetPassword { .. }
            | Self::CreateApiKey { .. }
            | Self::DeleteApiKey(_)
            | Self::CreateOrganization { .. }
            | Self::UpdateOrganization { .. }
            | Self::DeleteOrganization { .. }
            | Self::SetMember { .. }
            | Self::CreateWorkspace { .. }
            | Self::UpdateWorkspace { .. }
            | Self::DeleteWorkspace { .. } => true,
        }
    }
}
