use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::{
    SqliteStore,
    error::is_taken,
    events, history,
    rows::{all, body, find, key, page},
    writer::Written,
};
use crate::{
    Error, ErrorKind, Id, Page, PageRequest, Result, RevisionNumber, TokenHash, Trail,
    gateway::{GatewayWrite, Moved},
    store::{
        check_trail,
        codec::{RevisionRows, TrailRows, corrupt, from_body, micros, number, role, time, to_body},
        local::Effect,
        slug_taken,
    },
    tenancy::{
        ApiKey, ApiKeyId, AuditEntry, AuditFilter, Cascade, Email, Member, Organization,
        OrganizationId, PasswordHash, RefreshToken, Role, Sealed, SealedSigningKey, TenancyChange,
        TenancyStore, User, UserId, Workspace, WorkspaceId,
    },
};

const USER: &str = "SELECT id, email, password, created_at FROM users";

#[async_trait]
impl TenancyStore for SqliteStore {
    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.database.read(move |db| user(db, &format!("{USER} WHERE id = ?1"), key(&id))).await
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>> {
        let email = email.key();
        self.database
            .read(move |db| user(db, &format!("{USER} WHERE email_key = ?1"), &email))
            .await
    }

    async fn has_users(&self) -> Result<bool> {
        self.database.read(has_users).await
    }

    async fn organization(
        &self,
        id: OrganizationId,
        member: UserId,
    ) -> Result<Option<(Organization, Role)>> {
        let sql =
            "SELECT body, version, role FROM organizations JOIN members ON organization_id = id
                   WHERE id = ?1 AND user_id = ?2";
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query((key(&id), key(&member)))?;
            let held = |row| Ok((organization(row)?, read_role(row, 2)?));
            rows.next()?.map(held).transpose()
        };
        self.database.read(read).await
    }

    async fn organizations(
        &self,
        member: UserId,
        request: PageRequest,
    ) -> Result<Page<Organization>> {
        let sql = "body, version FROM organizations JOIN members ON organization_id = id WHERE user_id = ?1";
        self.database.read(move |db| page(db, sql, &key(&member), request, organization)).await
    }

    async fn workspace(
        &self,
        id: WorkspaceId,
        member: UserId,
    ) -> Result<Option<(Workspace, Role)>> {
        let sql = "SELECT body, role FROM workspaces JOIN members USING (organization_id)
                   WHERE id = ?1 AND user_id = ?2";
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query((key(&id), key(&member)))?;
            let held = |row| Ok((from_body(&body(row, 0)?)?, read_role(row, 1)?));
            rows.next()?.map(held).transpose()
        };
        self.database.read(read).await
    }

    async fn role(&self, user: UserId, of: OrganizationId) -> Result<Option<Role>> {
        let sql = "SELECT role FROM members WHERE user_id = ?1 AND organization_id = ?2";
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query((key(&user), key(&of)))?;
            rows.next()?.map(|row| read_role(row, 0)).transpose()
        };
        self.database.read(read).await
    }

    async fn owners(&self, of: OrganizationId) -> Result<u64> {
        let sql = "SELECT count(*) FROM members WHERE organization_id = ?1 AND role = 'owner'";
        let read = move |db: &Connection| {
            let count: i64 = db.prepare_cached(sql)?.query_row([key(&of)], |row| row.get(0))?;
            u64::try_from(count).map_err(corrupt)
        };
        self.database.read(read).await
    }

    async fn members(&self, of: OrganizationId, request: PageRequest) -> Result<Page<Member>> {
        let sql = "SELECT id, email, role FROM members JOIN users ON id = user_id
                   WHERE organization_id = ?1 ORDER BY id";
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query([key(&of)])?;
            let mut members = Vec::new();
            while let Some(row) = rows.next()? {
                members.push(Member {
                    user_id: Id::from_uuid(Uuid::from_bytes(row.get(0)?)),
                    email: Email::parse(row.get::<_, String>(1)?).map_err(corrupt)?,
                    role: read_role(row, 2)?,
                });
            }
            Ok(request.of(members))
        };
        self.database.read(read).await
    }

    async fn workspace_head(&self, id: WorkspaceId) -> Result<Option<RevisionNumber>> {
        self.database.read(move |db| history::head(db, id)).await
    }

    async fn workspaces(
        &self,
        of: OrganizationId,
        request: PageRequest,
    ) -> Result<Page<Workspace>> {
        let sql = "body FROM workspaces WHERE organization_id = ?1";
        self.database
            .read(move |db| page(db, sql, &key(&of), request, |row| from_body(&body(row, 0)?)))
            .await
    }

    async fn api_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>> {
        let sql = "SELECT body FROM api_keys WHERE id = ?1";
        self.database.read(move |db| find(db, sql, [key(&id)])).await
    }

    async fn api_key_by_hash(&self, hash: &TokenHash) -> Result<Option<ApiKey>> {
        let hash = *hash;
        let sql = "SELECT body FROM api_keys WHERE hash = ?1";
        self.database.read(move |db| find(db, sql, [hash.as_bytes()])).await
    }

    async fn api_keys(
        &self,
        of: OrganizationId,
        maker: Option<UserId>,
        request: PageRequest,
    ) -> Result<Page<ApiKey>> {
        let sql = "SELECT body FROM api_keys WHERE organization_id = ?1 AND user_id = coalesce(?2, user_id)
                   ORDER BY created_at, id";
        let read = move |db: &Connection| {
            let keys: Vec<ApiKey> = all(db, sql, (key(&of), maker.as_ref().map(key)))?;
            Ok(request.of(keys))
        };
        self.database.read(read).await
    }

    async fn refresh_token(&self, hash: &TokenHash) -> Result<Option<RefreshToken>> {
        let hash = *hash;
        self.database.read(move |db| refresh_token(db, hash)).await
    }

    async fn signing_key(&self) -> Result<Option<SealedSigningKey>> {
        let read = |row: &Row<'_>| {
            Ok(SealedSigningKey { kid: row.get(0)?, sealed: Sealed::from_bytes(row.get(1)?) })
        };
        let sql = "SELECT kid, sealed FROM signing_keys";
        self.database.read(move |db| Ok(db.query_row(sql, [], read).optional()?)).await
    }

    async fn audit_log(
        &self,
        of: OrganizationId,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>> {
        let filter = filter.clone();
        self.database.read(move |db| events::audit_log(db, of, &filter, page)).await
    }

    async fn commit(&self, change: TenancyChange, trail: Trail) -> Result<()> {
        check_trail(&change, &trail)?;
        let tenancy = change.leaves_trail();
        let trail = TrailRows::of(&trail)?;
        let write = move |db: &Connection| {
            let moved = commit(db, change)?;
            let recorded = events::record(db, &trail)?;
            Ok(Written { answer: (), effect: Effect { tenancy, moved, recorded } })
        };
        self.database.write(write).await
    }

    async fn drop_audit_entries(&self, before: DateTime<Utc>) -> Result<u64> {
        let sql = "DELETE FROM audit_entries WHERE created_at < ?1";
        let write = move |db: &Connection| {
            let dropped = db.prepare_cached(sql)?.execute([micros(before)])?;
            Ok(Written::quietly(dropped as u64))
        };
        self.database.write(write).await
    }

    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let write = move |db: &Connection| {
            let sql = "DELETE FROM refresh_tokens WHERE expires_at < ?1";
            let tokens = db.prepare_cached(sql)?.execute([micros(before)])?;
            let sql = "DELETE FROM api_keys WHERE expires_at < ?1";
            let keys = db.prepare_cached(sql)?.execute([micros(before)])?;
            Ok(Written::quietly((tokens + keys) as u64))
        };
        self.database.write(write).await
    }

    fn changes(&self) -> Option<u64> {
        Some(self.local.tenancy_changes())
    }
}

fn commit(db: &Connection, change: TenancyChange) -> Result<Vec<Moved>> {
    let mut moved = Vec::new();
    match change {
        TenancyChange::CreateFirstUser(user) => {
            if has_users(db)? {
                return Err(conflict("there are users already"));
            }
            insert_user(db, &user)?;
        }
        TenancyChange::CreateUser(user) => insert_user(db, &user)?,
        TenancyChange::SetPassword { user, password } => set_password(db, user, &password)?,
        TenancyChange::CreateApiKey { key, hash } => insert_api_key(db, &key, hash)?,
        TenancyChange::DeleteApiKey(id) => {
            let sql = "DELETE FROM api_keys WHERE id = ?1";
            if db.prepare_cached(sql)?.execute([key(&id)])? == 0 {
                return Err(Error::not_found("API key", id));
            }
        }
        TenancyChange::CreateOrganization { organization, owner } => {
            insert_organization(db, &organization)?;
            db.prepare_cached(
                "INSERT INTO members (user_id, organization_id, role) VALUES (?1, ?2, 'owner')",
            )?
            .execute((key(&owner), key(&organization.id)))
            .map_err(|error| {
                if is_taken(&error) { Error::not_found("user", owner) } else { error.into() }
            })?;
        }
        TenancyChange::UpdateOrganization { organization, base } => {
            update_organization(db, &organization, base)?
        }
        TenancyChange::DeleteOrganization { id, base, cascade } => {
            let gone = match cascade {
                Cascade::Refuse => Vec::new(),
                Cascade::Children => delete_workspaces(db, id)?,
            };
            delete_organization(db, id, base)?;
            let gone = gone.into_iter().map(|workspace_id| Moved { workspace_id, revision: None });
            moved.extend(gone);
        }
        TenancyChange::SetMember { organization, base, user, role } => {
            set_member(db, organization, base, user, role)?;
        }
        TenancyChange::CreateWorkspace { workspace, revision } => {
            insert_workspace(db, &workspace)?;
            if let Some(revision) = revision {
                let settings = GatewayWrite::PutSettings(Arc::new(workspace.settings.clone()));
                let rows = RevisionRows::of(&revision, &[settings])?;
                history::advance(db, 0, &rows)?;
                update_workspace(db, &workspace)?;
            }
        }
        TenancyChange::UpdateWorkspace { workspace, base, revision } => {
            let settings = GatewayWrite::PutSettings(Arc::new(workspace.settings.clone()));
            let rows = RevisionRows::of(&revision, &[settings])?;
            history::advance(db, number(base.0)?, &rows)?;
            update_workspace(db, &workspace)?;
            moved.push(Moved { workspace_id: workspace.id, revision: Some(revision.number) });
        }
        TenancyChange::DeleteWorkspace { id, base, cascade } => {
            if cascade == Cascade::Children {
                delete_agents(db, id)?;
            }
            delete_workspace(db, id, base)?;
            moved.push(Moved { workspace_id: id, revision: None });
        }
        TenancyChange::AddRefreshToken(token) => insert_refresh_token(db, &token)?,
        TenancyChange::RotateRefreshToken { used, next } => {
            let sql = "UPDATE refresh_tokens SET used = 1 WHERE hash = ?1 AND used = 0";
            if db.prepare_cached(sql)?.execute([used.as_bytes()])? == 0 {
                return Err(conflict("the refresh token was used already"));
            }
            insert_refresh_token(db, &next)?;
        }
        TenancyChange::RevokeFamily(family) => {
            db.prepare_cached("DELETE FROM refresh_tokens WHERE family = ?1")?
                .execute([family.as_bytes()])?;
        }
        TenancyChange::CreateSigningKey { key, now } => {
            let sql =
                "INSERT INTO signing_keys (slot, kid, sealed, created_at) VALUES (1, ?1, ?2, ?3)";
            db.prepare_cached(sql)?
                .execute((key.kid, key.sealed.as_bytes(), micros(now)))
                .map_err(|error| refuse(error, || conflict("there is a signing key already")))?;
        }
    }
    Ok(moved)
}

fn has_users(db: &Connection) -> Result<bool> {
    Ok(db.prepare_cached("SELECT EXISTS (SELECT 1 FROM users)")?.query_row([], |row| row.get(0))?)
}

fn user(db: &Connection, sql: &str, id: impl rusqlite::ToSql) -> Result<Option<User>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(User {
        id: Id::from_uuid(Uuid::from_bytes(row.get(0)?)),
        email: Email::parse(row.get::<_, String>(1)?).map_err(corrupt)?,
        password: PasswordHash::from_stored(row.get::<_, String>(2)?),
        created_at: time(row.get(3)?)?,
    }))
}

fn insert_user(db: &Connection, user: &User) -> Result<()> {
    let User { id, email, password, created_at } = user;
    db.prepare_cached("INSERT INTO users (id, email, email_key, password, created_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((key(id), email.as_str(), email.key(), password.as_str(), micros(*created_at)))
        .map_err(|error| refuse(error, || conflict("the e-mail address is taken")))?;
    Ok(())
}

fn set_password(db: &Connection, id: UserId, password: &PasswordHash) -> Result<()> {
    let sql = "UPDATE users SET password = ?2 WHERE id = ?1";
    if db.prepare_cached(sql)?.execute((key(&id), password.as_str()))? == 0 {
        return Err(Error::not_found("user", id));
    }
    db.prepare_cached("DELETE FROM refresh_tokens WHERE user_id = ?1")?.execute([key(&id)])?;
    Ok(())
}

fn insert_api_key(db: &Connection, api_key: &ApiKey, hash: TokenHash) -> Result<()> {
    for (noun, table, id) in [
        ("organization", "organizations", *api_key.organization_id.as_uuid()),
        ("user", "users", *api_key.user_id.as_uuid()),
    ] {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?1)");
        if !db.prepare_cached(&sql)?.query_row([id.as_bytes()], |row| row.get::<_, bool>(0))? {
            return Err(Error::not_found(noun, id));
        }
    }
    let sql =
        "INSERT INTO api_keys (id, hash, organization_id, user_id, expires_at, created_at, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    db.prepare_cached(sql)?.execute((
        key(&api_key.id),
        hash.as_bytes(),
        key(&api_key.organization_id),
        key(&api_key.user_id),
        api_key.expires_at.map(micros),
        micros(api_key.created_at),
        to_body(api_key)?,
    ))?;
    Ok(())
}

fn organization(row: &Row<'_>) -> Result<Organization> {
    let version: i64 = row.get(1)?;
    let organization: Organization = from_body(&body(row, 0)?)?;
    Ok(Organization { version: u64::try_from(version).map_err(corrupt)?, ..organization })
}

fn insert_organization(db: &Connection, organization: &Organization) -> Result<()> {
    let Organization { id, name: _, slug, version, created_at, updated_at: _ } = organization;
    db.prepare_cached("INSERT INTO organizations (id, slug, version, created_at, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((key(id), slug.as_str(), number(*version)?, micros(*created_at), to_body(organization)?))
        .map_err(|error| refuse(error, || slug_taken("an organization", slug.as_str())))?;
    Ok(())
}

fn update_organization(db: &Connection, organization: &Organization, base: u64) -> Result<()> {
    let Organization { id, name: _, slug, version, created_at: _, updated_at: _ } = organization;
    let sql = "UPDATE organizations SET slug = ?3, version = ?4, body = ?5 WHERE id = ?1 AND version = ?2";
    let changed = db
        .prepare_cached(sql)?
        .execute((key(id), number(base)?, slug.as_str(), number(*version)?, to_body(organization)?))
        .map_err(|error| refuse(error, || slug_taken("an organization", slug.as_str())))?;
    if changed == 0 { Err(moved_on(db, "organization", "organizations", id)?) } else { Ok(()) }
}

fn delete_organization(db: &Connection, id: OrganizationId, base: u64) -> Result<()> {
    let deleted = db
        .prepare_cached("DELETE FROM organizations WHERE id = ?1 AND version = ?2")?
        .execute((key(&id), number(base)?))
        .map_err(|error| refuse(error, || conflict("the organization has workspaces")))?;
    if deleted == 0 { Err(moved_on(db, "organization", "organizations", &id)?) } else { Ok(()) }
}

fn set_member(
    db: &Connection,
    id: OrganizationId,
    base: u64,
    user: UserId,
    role: Option<Role>,
) -> Result<()> {
    let sql = "UPDATE organizations SET version = version + 1 WHERE id = ?1 AND version = ?2";
    if db.prepare_cached(sql)?.execute((key(&id), number(base)?))? == 0 {
        return Err(moved_on(db, "organization", "organizations", &id)?);
    }
    let exists = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1)";
    if !db.prepare_cached(exists)?.query_row([key(&user)], |row| row.get::<_, bool>(0))? {
        return Err(Error::not_found("user", user));
    }
    let member = (key(&user), key(&id));
    match role {
        Some(role) => {
            let sql = "INSERT INTO members (user_id, organization_id, role) VALUES (?1, ?2, ?3)
                       ON CONFLICT DO UPDATE SET role = excluded.role";
            db.prepare_cached(sql)?.execute((member.0, member.1, role.as_str()))?;
        }
        None => {
            let sql = "DELETE FROM members WHERE user_id = ?1 AND organization_id = ?2";
            db.prepare_cached(sql)?.execute(member)?;
        }
    }
    Ok(())
}

fn read_role(row: &Row<'_>, column: usize) -> Result<Role> {
    role(row.get_ref(column)?.as_str().map_err(corrupt)?)
}

fn insert_workspace(db: &Connection, workspace: &Workspace) -> Result<()> {
    let sql = "INSERT INTO workspaces (id, organization_id, slug, head, revision, created_at, body)
               SELECT ?1, id, ?3, 0, 0, ?4, ?5 FROM organizations WHERE id = ?2";
    let parent = &workspace.organization_id;
    let slug = workspace.slug.as_str();
    let inserted = db
        .prepare_cached(sql)?
        .execute((
            key(&workspace.id),
            key(parent),
            slug,
            micros(workspace.created_at),
            to_body(workspace)?,
        ))
        .map_err(|error| refuse(error, || slug_taken("a workspace of the organization", slug)))?;
    if inserted == 0 { Err(Error::not_found("organization", parent)) } else { Ok(()) }
}

pub(super) fn update_workspace(db: &Connection, workspace: &Workspace) -> Result<()> {
    let sql = "UPDATE workspaces SET slug = ?2, revision = ?3, body = ?4 WHERE id = ?1";
    let slug = workspace.slug.as_str();
    db.prepare_cached(sql)?
        .execute((key(&workspace.id), slug, number(workspace.revision.0)?, to_body(workspace)?))
        .map_err(|error| refuse(error, || slug_taken("a workspace of the organization", slug)))?;
    Ok(())
}

/// Whatever is done here is undone when the organization has moved on.
fn delete_workspaces(db: &Connection, of: OrganizationId) -> Result<Vec<WorkspaceId>> {
    let sql = "SELECT id FROM workspaces WHERE organization_id = ?1";
    let mut statement = db.prepare_cached(sql)?;
    let ids = statement.query_map([key(&of)], |row| row.get(0))?;
    let ids = ids.map(|id| Ok(Id::from_uuid(Uuid::from_bytes(id?))));
    let ids: Vec<WorkspaceId> = ids.collect::<Result<_>>()?;
    for id in &ids {
        delete_agents(db, *id)?;
    }
    db.prepare_cached("DELETE FROM workspaces WHERE organization_id = ?1")?.execute([key(&of)])?;
    Ok(ids)
}

fn delete_agents(db: &Connection, of: WorkspaceId) -> Result<()> {
    db.prepare_cached("DELETE FROM agents WHERE workspace_id = ?1")?.execute([key(&of)])?;
    Ok(())
}

fn delete_workspace(db: &Connection, id: WorkspaceId, base: RevisionNumber) -> Result<()> {
    let deleted = db
        .prepare_cached("DELETE FROM workspaces WHERE id = ?1 AND revision = ?2")?
        .execute((key(&id), number(base.0)?))
        .map_err(|error| refuse(error, || conflict("the workspace has agents")))?;
    if deleted == 0 { Err(moved_on(db, "workspace", "workspaces", &id)?) } else { Ok(()) }
}

fn refresh_token(db: &Connection, hash: TokenHash) -> Result<Option<RefreshToken>> {
    let mut statement = db.prepare_cached(
        "SELECT family, user_id, expires_at, used FROM refresh_tokens WHERE hash = ?1",
    )?;
    let mut rows = statement.query([hash.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(RefreshToken {
        hash,
        family: Uuid::from_bytes(row.get(0)?),
        user_id: Id::from_uuid(Uuid::from_bytes(row.get(1)?)),
        expires_at: time(row.get(2)?)?,
        used: row.get(3)?,
    }))
}

fn insert_refresh_token(db: &Connection, token: &RefreshToken) -> Result<()> {
    let RefreshToken { hash, family, user_id, expires_at, used } = token;
    db.prepare_cached("INSERT INTO refresh_tokens (hash, family, user_id, expires_at, used) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((hash.as_bytes(), family.as_bytes(), key(user_id), micros(*expires_at), used))
        .map_err(|error| refuse(error, || Error::not_found("user", user_id)))?;
    Ok(())
}

/// Why a row that should be at a version was not found.
fn moved_on<T>(db: &Connection, noun: &str, table: &str, id: &Id<T>) -> Result<Error> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?1)");
    let exists: bool = db.prepare_cached(&sql)?.query_row([key(id)], |row| row.get(0))?;
    Ok(match exists {
        true => Error::new(ErrorKind::Stale, format!("the {noun} has moved on")),
        false => Error::not_found(noun, id),
    })
}

fn refuse(error: rusqlite::Error, taken: impl FnOnce() -> Error) -> Error {
    if is_taken(&error) { taken() } else { error.into() }
}

fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, message)
}
