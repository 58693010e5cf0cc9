use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};

use super::{
    PostgresStore,
    connections::Statement,
    error::constraint,
    rows::{PAGE, body, find, id, key, page, revision},
};
use crate::{
    Error, ErrorKind, Id, Page, PageRequest, Result, Revision, RevisionNumber, TokenHash,
    gateway::{GatewayWrite, Moved, News},
    store::{
        codec::{WriteRow, corrupt, micros, number, role, time, to_body},
        slug_taken,
    },
    tenancy::{
        ApiKey, ApiKeyId, Email, Member, Organization, OrganizationId, PasswordHash, RefreshToken,
        Role, Sealed, SealedSigningKey, TenancyChange, TenancyStore, User, UserId, Workspace,
        WorkspaceId,
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

    async fn commit(&self, change: TenancyChange) -> Result<()> {
        match change {
            TenancyChange::CreateFirstUser(user) => self.create_first_user(&user).await,
            TenancyChange::CreateUser(user) => self.create_user(&user).await,
            TenancyChange::SetPassword { user, password } => {
                self.set_password(user, &password).await
            }
            TenancyChange::CreateApiKey { key, hash } => self.create_api_key(&key, hash).await,
            TenancyChange::DeleteApiKey(id) => {
                let statement = sqlx::query("DELETE FROM api_keys WHERE id = $1");
                match self.database.execute(statement.bind(key(id))).await? {
                    0 => Err(Error::not_found("API key", id)),
                    _ => Ok(()),
                }
            }
            TenancyChange::CreateOrganization { organization, owner } => {
                self.create_organization(&organization, owner).await
            }
            TenancyChange::UpdateOrganization { organization, base } => {
                self.update_organization(&organization, base).await
            }
            TenancyChange::DeleteOrganization { id, base } => {
                self.delete_organization(id, base).await
            }
            TenancyChange::SetMember { organization, base, user, role } => {
                self.set_member(organization, base, user, role).await
            }
            TenancyChange::CreateWorkspace(workspace) => self.create_workspace(&workspace).await,
            TenancyChange::UpdateWorkspace { workspace, base, revision } => {
                self.update_workspace(&workspace, base, &revision).await
            }
            TenancyChange::DeleteWorkspace { id, base } => self.delete_workspace(id, base).await,
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
}

impl PostgresStore {
    async fn create_first_user(&self, user: &User) -> Result<()> {
        let lock = "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE";
        let statement = sqlx::query(
            "INSERT INTO users (id, email, email_key, password, created_at)
             SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM users)",
        );
        match self.database.execute_alone(lock, bind_user(statement, user)).await? {
            0 => Err(conflict("there are users already")),
            _ => Ok(()),
        }
    }

    async fn create_user(&self, user: &User) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO users (id, email, email_key, password, created_at)
             VALUES ($1, $2, $3, $4, $5)",
        );
        let made = self.database.execute(bind_user(statement, user)).await;
        made.map(|_| ()).map_err(|error| match constraint(&error) {
            Some("users_email_key_key") => conflict("the e-mail address is taken"),
            _ => error,
        })
    }

    async fn set_password(&self, id: UserId, password: &PasswordHash) -> Result<()> {
        let statement = sqlx::query(
            "WITH changed AS (
                 UPDATE users SET password = $2 WHERE id = $1 RETURNING id
             ), revoked AS (
                 DELETE FROM refresh_tokens USING changed WHERE user_id = changed.id
             )
             SELECT EXISTS (SELECT FROM changed)",
        );
        let statement = statement.bind(key(id)).bind(password.as_str().to_owned());
        match self.database.one(statement).await?.try_get(0)? {
            true => Ok(()),
            false => Err(Error::not_found("user", id)),
        }
    }

    async fn create_api_key(&self, api_key: &ApiKey, hash: TokenHash) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO api_keys (id, hash, organization_id, user_id, expires_at, created_at, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        );
        let statement = statement
            .bind(key(api_key.id))
            .bind(hash.as_bytes().to_vec())
            .bind(key(api_key.organization_id))
            .bind(key(api_key.user_id))
            .bind(api_key.expires_at.map(micros))
            .bind(micros(api_key.created_at))
            .bind(to_body(api_key)?);
        let made = self.database.execute(statement).await;
        made.map(|_| ()).map_err(|error| match constraint(&error) {
            Some("api_keys_organization_id_fkey") => {
                Error::not_found("organization", api_key.organization_id)
            }
            Some("api_keys_user_id_fkey") => Error::not_found("user", api_key.user_id),
            _ => error,
        })
    }

    async fn create_organization(&self, organization: &Organization, owner: UserId) -> Result<()> {
        let Organization { id, name: _, slug, version, created_at, updated_at: _ } = organization;
        let statement = sqlx::query(
            "WITH made AS (
                 INSERT INTO organizations (id, slug, version, created_at, body)
                 VALUES ($1, $2, $3, $4, $5) RETURNING id
             )
             INSERT INTO members (user_id, organization_id, role) SELECT $6, id, 'owner' FROM made",
        );
        let statement = statement
            .bind(key(*id))
            .bind(slug.as_str())
            .bind(number(*version)?)
            .bind(micros(*created_at))
            .bind(to_body(organization)?)
            .bind(key(owner));
        let made = self.database.execute(statement).await;
        made.map(|_| ()).map_err(|error| match constraint(&error) {
            Some("members_user_id_fkey") => Error::not_found("user", owner),
            _ => organization_taken(error, organization),
        })
    }

    async fn update_organization(&self, organization: &Organization, base: u64) -> Result<()> {
        let Organization { id, name: _, slug, version, created_at: _, updated_at: _ } =
            organization;
        let statement = sqlx::query(
            "WITH changed AS (
                 UPDATE organizations SET slug = $3, version = $4, body = $5
                 WHERE id = $1 AND version = $2 RETURNING id
             )
             SELECT EXISTS (SELECT FROM changed), EXISTS (SELECT FROM organizations WHERE id = $1)",
        );
        let statement = statement
            .bind(key(*id))
            .bind(number(base)?)
            .bind(slug.as_str())
            .bind(number(*version)?)
            .bind(to_body(organization)?);
        let changed = self.database.one(statement).await;
        let changed = changed.map_err(|error| organization_taken(error, organization))?;
        done(&changed, "organization", *id)
    }

    async fn delete_organization(&self, id: OrganizationId, base: u64) -> Result<()> {
        let statement = sqlx::query(
            "WITH deleted AS (
                 DELETE FROM organizations WHERE id = $1 AND version = $2 RETURNING id
             )
             SELECT EXISTS (SELECT FROM deleted), EXISTS (SELECT FROM organizations WHERE id = $1)",
        );
        let deleted = self.database.one(statement.bind(key(id)).bind(number(base)?)).await;
        let deleted = deleted.map_err(|error| match constraint(&error) {
            Some("workspaces_organization_id_fkey") => conflict("the organization has workspaces"),
            _ => error,
        })?;
        done(&deleted, "organization", id)
    }

    async fn set_member(
        &self,
        id: OrganizationId,
        base: u64,
        user: UserId,
        role: Option<Role>,
    ) -> Result<()> {
        let statement = sqlx::query(
            "WITH changed AS (
                 UPDATE organizations SET version = version + 1
                 WHERE id = $1 AND version = $2 AND EXISTS (SELECT FROM users WHERE id = $3)
                 RETURNING id
             ), put AS (
                 INSERT INTO members (user_id, organization_id, role)
                 SELECT $3, id, $4 FROM changed WHERE $4 IS NOT NULL
                 ON CONFLICT (user_id, organization_id) DO UPDATE SET role = excluded.role
             ), removed AS (
                 DELETE FROM members USING changed
                 WHERE user_id = $3 AND organization_id = changed.id AND $4 IS NULL
             )
             SELECT EXISTS (SELECT FROM changed),
                 EXISTS (SELECT FROM organizations WHERE id = $1),
                 EXISTS (SELECT FROM organizations WHERE id = $1 AND version = $2)",
        );
        let statement = statement
            .bind(key(id))
            .bind(number(base)?)
            .bind(key(user))
            .bind(role.map(Role::as_str));
        let changed = self.database.one(statement).await?;
        let at_base: bool = changed.try_get(2)?;
        match done(&changed, "organization", id) {
            Err(error) if error.kind() == ErrorKind::Stale && at_base => {
                Err(Error::not_found("user", user))
            }
            done => done,
        }
    }

    async fn create_workspace(&self, workspace: &Workspace) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO workspaces (id, organization_id, slug, head, revision, created_at, body)
             VALUES ($1, $2, $3, 0, 0, $4, $5)",
        );
        let statement = statement
            .bind(key(workspace.id))
            .bind(key(workspace.organization_id))
            .bind(workspace.slug.as_str())
            .bind(micros(workspace.created_at))
            .bind(to_body(workspace)?);
        let made = self.database.execute(statement).await;
        made.map(|_| ()).map_err(|error| match constraint(&error) {
            Some("workspaces_organization_id_fkey") => {
                Error::not_found("organization", workspace.organization_id)
            }
            _ => workspace_taken(error, workspace),
        })
    }

    async fn update_workspace(
        &self,
        workspace: &Workspace,
        base: RevisionNumber,
        revision: &Revision,
    ) -> Result<()> {
        let settings = GatewayWrite::PutSettings(Arc::new(workspace.settings.clone()));
        let write = WriteRow::of(workspace.id, &settings)?;
        let statement = sqlx::query(include_str!("sql/update_workspace.sql"))
            .bind(key(workspace.id))
            .bind(number(base.0)?)
            .bind(number(revision.number.0)?)
            .bind(workspace.slug.as_str())
            .bind(to_body(workspace)?)
            .bind(to_body(revision)?)
            .bind(write.kind)
            .bind(write.body)
            .bind(number(workspace.revision.0)?);
        let changed = self.database.one(statement).await;
        let changed = changed.map_err(|error| workspace_taken(error, workspace))?;
        done(&changed, "workspace", workspace.id)?;
        self.moved(workspace.id, Some(revision.number));
        Ok(())
    }

    async fn delete_workspace(&self, id: WorkspaceId, base: RevisionNumber) -> Result<()> {
        let statement = sqlx::query(
            "WITH deleted AS (
                 DELETE FROM workspaces WHERE id = $1 AND revision = $2 RETURNING id
             )
             SELECT EXISTS (SELECT FROM deleted), EXISTS (SELECT FROM workspaces WHERE id = $1)",
        );
        let deleted = self.database.one(statement.bind(key(id)).bind(number(base.0)?)).await;
        let deleted = deleted.map_err(|error| match constraint(&error) {
            Some("agents_workspace_id_fkey") => conflict("the workspace has agents"),
            _ => error,
        })?;
        done(&deleted, "workspace", id)?;
        self.moved(id, None);
        Ok(())
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO refresh_tokens (hash, family, user_id, expires_at, used)
             VALUES ($1, $2, $3, $4, $5)",
        );
        let added = self.database.execute(bind_token(statement, token)).await;
        added.map(|_| ()).map_err(|error| user_gone(error, token))
    }

    async fn rotate_refresh_token(&self, used: TokenHash, next: &RefreshToken) -> Result<()> {
        let statement = sqlx::query(
            "WITH used AS (
                 UPDATE refresh_tokens SET used = true WHERE hash = $6 AND NOT used RETURNING hash
             )
             INSERT INTO refresh_tokens (hash, family, user_id, expires_at, used)
             SELECT $1, $2, $3, $4, $5 FROM used",
        );
        let statement = bind_token(statement, next).bind(used.as_bytes().to_vec());
        let rotated = self.database.execute(statement).await;
        match rotated.map_err(|error| user_gone(error, next))? {
            0 => Err(conflict("the refresh token was used already")),
            _ => Ok(()),
        }
    }

    async fn create_signing_key(&self, key: SealedSigningKey, now: DateTime<Utc>) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO signing_keys (slot, kid, sealed, created_at) VALUES (1, $1, $2, $3)
             ON CONFLICT DO NOTHING",
        );
        let statement =
            statement.bind(key.kid).bind(key.sealed.as_bytes().to_vec()).bind(micros(now));
        match self.database.execute(statement).await? {
            0 => Err(conflict("there is a signing key already")),
            _ => Ok(()),
        }
    }

    pub(super) fn moved(&self, workspace_id: WorkspaceId, revision: Option<RevisionNumber>) {
        self.database.announce(News::Moved(Moved { workspace_id, revision }));
    }
}

fn bind_user<'q>(statement: Statement<'q>, user: &'q User) -> Statement<'q> {
    let User { id, email, password, created_at } = user;
    statement
        .bind(key(*id))
        .bind(email.as_str())
        .bind(email.key())
        .bind(password.as_str())
        .bind(micros(*created_at))
}

fn bind_token<'q>(statement: Statement<'q>, token: &RefreshToken) -> Statement<'q> {
    let RefreshToken { hash, family, user_id, expires_at, used } = token;
    statement
        .bind(hash.as_bytes().to_vec())
        .bind(*family)
        .bind(key(*user_id))
        .bind(micros(*expires_at))
        .bind(*used)
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

fn organization_taken(error: Error, organization: &Organization) -> Error {
    match constraint(&error) {
        Some("organizations_slug_key") => slug_taken("an organization", organization.slug.as_str()),
        _ => error,
    }
}

fn workspace_taken(error: Error, workspace: &Workspace) -> Error {
    match constraint(&error) {
        Some("workspaces_organization_id_slug_key") => {
            slug_taken("a workspace of the organization", workspace.slug.as_str())
        }
        _ => error,
    }
}

fn user_gone(error: Error, token: &RefreshToken) -> Error {
    match constraint(&error) {
        Some("refresh_tokens_user_id_fkey") => Error::not_found("user", token.user_id),
        _ => error,
    }
}

fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, message)
}
