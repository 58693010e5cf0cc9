use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};

use super::{
    PostgresStore,
    events::bind_trail,
    rows::{PAGE, body, find, id, key, page, revision},
};
use crate::{
    Error, ErrorKind, Id, Page, PageRequest, Result, RevisionNumber, TokenHash, Trail,
    gateway::{Moved, News},
    store::{
        check_trail,
        codec::{TrailRows, corrupt, micros, role, time},
    },
    tenancy::{
        ApiKey, ApiKeyId, AuditEntry, AuditFilter, Email, Member, Organization, OrganizationId,
        PasswordHash, RefreshToken, Role, Sealed, SealedSigningKey, TenancyChange, TenancyStore,
        User, UserId, Workspace, WorkspaceId,
    },
};

#[async_trait]
impl TenancyStore for PostgresStore {
    async fn user(&self, id: UserId) -> Result<Option<User>> {
        let sql = "SELECT id, email, password, created_at FROM users WHERE id = $1";
        let row = self.database.optional(sqlx::query(sql).bind(key(id))).await?;
        row.map(|row| user(&row)).transpose()
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>> {
        let sql = "SELECT id, email, password, created_at FROM users WHERE email_key = $1";
        let row = self.database.optional(sqlx::query(sql).bind(email.key())).await?;
        row.map(|row| user(&row)).transpose()
    }

    async fn has_users(&self) -> Result<bool> {
        let row = self.database.one(sqlx::query("SELECT EXISTS (SELECT FROM users)")).await?;
        Ok(row.try_get(0)?)
    }

    async fn organization(
        &self,
        id: OrganizationId,
        member: UserId,
    ) -> Result<Option<(Organization, Role)>> {
        let statement = sqlx::query(
            "SELECT body, version, role FROM organizations JOIN members ON organization_id = id
             WHERE id = $1 AND user_id = $2",
        );
        let row = self.database.optional(statement.bind(key(id)).bind(key(member))).await?;
        row.map(|row| Ok((organization(&row, 0)?, role(row.try_get(2)?)?))).transpose()
    }

    async fn organizations(
        &self,
        member: UserId,
        request: PageRequest,
    ) -> Result<Page<Organization>> {
        let sql = "body, version FROM organizations JOIN members ON organization_id = id WHERE user_id = $1";
        page(&self.database, sql, key(member), request, |row| organization(row, PAGE)).await
    }

    async fn workspace(
        &self,
        id: WorkspaceId,
        member: UserId,
    ) -> Result<Option<(Workspace, Role)>> {
        let statement = sqlx::query(
            "SELECT body, role FROM workspaces JOIN members USING (organization_id)
             WHERE id = $1 AND user_id = $2",
        );
        let row = self.database.optional(statement.bind(key(id)).bind(key(member))).await?;
        row.map(|row| Ok((body(&row, 0)?, role(row.try_get(1)?)?))).transpose()
    }

    async fn role(&self, user: UserId, of: OrganizationId) -> Result<Option<Role>> {
        let statement =
            sqlx::query("SELECT role FROM members WHERE user_id = $1 AND organization_id = $2");
        let row = self.database.optional(statement.bind(key(user)).bind(key(of))).await?;
        row.map(|row| role(row.try_get(0)?)).transpose()
    }

    async fn owners(&self, of: OrganizationId) -> Result<u64> {
        let statement = sqlx::query(
            "SELECT count(*) FROM members WHERE organization_id = $1 AND role = 'owner'",
        );
        let row = self.database.one(statement.bind(key(of))).await?;
        u64::try_from(row.try_get::<i64, _>(0)?).map_err(corrupt)
    }

    async fn members(&self, of: OrganizationId, request: PageRequest) -> Result<Page<Member>> {
        let statement = sqlx::query(
            "SELECT id, email, role FROM members JOIN users ON id = user_id
             WHERE organization_id = $1 ORDER BY id",
        );
        let rows = self.database.all(statement.bind(key(of))).await?;
        let member = |row: &PgRow| {
            Ok(Member {
                user_id: id(row, 0)?,
                email: Email::parse(row.try_get::<String, _>(1)?).map_err(corrupt)?,
                role: role(row.try_get(2)?)?,
            })
        };
        Ok(request.of(rows.iter().map(member).collect::<Result<Vec<_>>>()?))
    }

    async fn workspace_head(&self, id: WorkspaceId) -> Result<Option<RevisionNumber>> {
        let statement = sqlx::query("SELECT head FROM workspaces WHERE id = $1").bind(key(id));
        self.database.optional(statement).await?.map(|row| revision(&row, 0)).transpose()
    }

    async fn workspaces(
        &self,
        of: OrganizationId,
        request: PageRequest,
    ) -> Result<Page<Workspace>> {
        let sql = "body FROM workspaces WHERE organization_id = $1";
        page(&self.database, sql, key(of), request, |row| body(row, PAGE)).await
    }

    async fn api_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>> {
        let statement = sqlx::query("SELECT body FROM api_keys WHERE id = $1");
        find(&self.database, statement.bind(key(id))).await
    }

    async fn api_key_by_hash(&self, hash: &TokenHash) -> Result<Option<ApiKey>> {
        let statement = sqlx::query("SELECT body FROM api_keys WHERE hash = $1");
        find(&self.database, statement.bind(hash.as_bytes())).await
    }

    async fn api_keys(
        &self,
        of: OrganizationId,
        maker: Option<UserId>,
        request: PageRequest,
    ) -> Result<Page<ApiKey>> {
        let statement = sqlx::query(
            "SELECT body FROM api_keys WHERE organization_id = $1 AND user_id = coalesce($2, user_id)
             ORDER BY created_at, id",
        );
        let rows = self.database.all(statement.bind(key(of)).bind(maker.map(key))).await?;
        let keys = rows.iter().map(|row| body(row, 0)).collect::<Result<Vec<_>>>()?;
        Ok(request.of(keys))
    }

    async fn refresh_token(&self, hash: &TokenHash) -> Result<Option<RefreshToken>> {
        let sql = "SELECT family, user_id, expires_at, used FROM refresh_tokens WHERE hash = $1";
        let row = self.database.optional(sqlx::query(sql).bind(hash.as_bytes())).await?;
        row.map(|row| {
            Ok(RefreshToken {
                hash: *hash,
                family: row.try_get(0)?,
                user_id: id(&row, 1)?,
                expires_at: time(row.try_get(2)?)?,
                used: row.try_get(3)?,
            })
        })
        .transpose()
    }

    async fn signing_key(&self) -> Result<Option<SealedSigningKey>> {
        let row =
            self.database.optional(sqlx::query("SELECT kid, sealed FROM signing_keys")).await?;
        row.map(|row| {
            let sealed = Sealed::from_bytes(row.try_get(1)?);
            Ok(SealedSigningKey { kid: row.try_get(0)?, sealed })
        })
        .transpose()
    }

    async fn audit_log(
        &self,
        of: OrganizationId,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>> {
        self.find_entries(of, filter, page).await
    }

    async fn commit(&self, change: TenancyChange, trail: Trail) -> Result<()> {
        check_trail(&change, &trail)?;
        let trail = TrailRows::of(&trail)?;
        self.make(change, &trail).await?;
        self.recorded(&trail);
        Ok(())
    }

    async fn drop_audit_entries(&self, before: DateTime<Utc>) -> Result<u64> {
        let statement = sqlx::query("DELETE FROM audit_entries WHERE created_at < $1");
        self.database.execute(statement.bind(micros(before))).await
    }

    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut dropped = 0;
        for sql in [
            "DELETE FROM refresh_tokens WHERE expires_at < $1",
            "DELETE FROM api_keys WHERE expires_at < $1",
        ] {
            dropped += self.database.execute(sqlx::query(sql).bind(micros(before))).await?;
        }
        Ok(dropped)
    }

    fn changes(&self) -> Option<u64> {
        None
    }
}

impl PostgresStore {
    async fn make(&self, change: TenancyChange, trail: &TrailRows) -> Result<()> {
        match change {
            TenancyChange::CreateFirstUser(user) => self.create_first_user(&user).await,
            TenancyChange::CreateUser(user) => self.create_user(&user).await,
            TenancyChange::SetPassword { user, password } => {
                self.set_password(user, &password, trail).await
            }
            TenancyChange::CreateApiKey { key, hash } => {
                self.create_api_key(&key, hash, trail).await
            }
            TenancyChange::DeleteApiKey(id) => {
                let statement = sqlx::query(
                    "WITH made AS (DELETE FROM api_keys WHERE id = $1 RETURNING id)
                     SELECT record_trail($2, $3) FROM made",
                );
                let statement = bind_trail(statement.bind(key(id)), trail)?;
                let deleted = self.database.try_change(statement).await?;
                deleted.map(|_| ()).ok_or_else(|| Error::not_found("API key", id))
            }
            TenancyChange::CreateOrganization { organization, owner } => {
                self.create_organization(&organization, owner, trail).await
            }
            TenancyChange::UpdateOrganization { organization, base } => {
                self.update_organization(&organization, base, trail).await
            }
            TenancyChange::DeleteOrganization { id, base, cascade } => {
                self.delete_organization(id, base, cascade, trail).await
            }
            TenancyChange::SetMember { organization, base, user, role } => {
                self.set_member((organization, base), user, role, trail).await
            }
            TenancyChange::CreateWorkspace { workspace, revision } => {
                self.create_workspace(&workspace, revision.as_ref(), trail).await
            }
            TenancyChange::UpdateWorkspace { workspace, base, revision } => {
                self.update_workspace(&workspace, base, &revision, trail).await
            }
            TenancyChange::DeleteWorkspace { id, base, cascade } => {
                self.delete_workspace(id, base, cascade, trail).await
            }
            TenancyChange::AddRefreshToken(token) => self.add_refresh_token(&token).await,
            TenancyChange::RotateRefreshToken { used, next } => {
                self.rotate_refresh_token(used, &next).await
            }
            TenancyChange::RevokeFamily(family) => {
                let statement = sqlx::query("DELETE FROM refresh_tokens WHERE family = $1");
                self.database.execute(statement.bind(family)).await.map(|_| ())
            }
            TenancyChange::CreateSigningKey { key, now } => self.create_signing_key(key, now).await,
        }
    }

    pub(super) fn moved(&self, workspace_id: WorkspaceId, revision: Option<RevisionNumber>) {
        self.database.announce(News::Moved(Moved { workspace_id, revision }));
    }
}

fn user(row: &PgRow) -> Result<User> {
    let password: String = row.try_get(2)?;
    Ok(User {
        id: id(row, 0)?,
        email: Email::parse(row.try_get::<String, _>(1)?).map_err(corrupt)?,
        password: PasswordHash::from_stored(password),
        created_at: time(row.try_get(3)?)?,
    })
}

fn organization(row: &PgRow, column: usize) -> Result<Organization> {
    let version: i64 = row.try_get(column + 1)?;
    let organization: Organization = body(row, column)?;
    Ok(Organization { version: u64::try_from(version).map_err(corrupt)?, ..organization })
}

/// Whether a statement changed its row, and if not, why.
pub(super) fn done<T>(row: &PgRow, noun: &str, id: Id<T>) -> Result<()> {
    match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Ok(()),
        (false, true) => Err(Error::new(ErrorKind::Stale, format!("the {noun} has moved on"))),
        (false, false) => Err(Error::not_found(noun, id)),
    }
}

pub(super) fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, message)
}
