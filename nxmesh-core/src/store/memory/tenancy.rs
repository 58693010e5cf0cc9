use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    MemoryStore,
    state::{Head, State},
};
use crate::{
    Error, ErrorKind, Page, PageRequest, Result, RevisionNumber, TokenHash, Trail,
    gateway::{GatewayWrite, Moved},
    store::{check_trail, local::Effect},
    tenancy::{
        ApiKey, ApiKeyId, AuditEntry, AuditFilter, Cascade, Email, Member, Organization,
        OrganizationId, RefreshToken, Role, SealedSigningKey, Slug, TenancyChange, TenancyStore,
        User, UserId, Workspace, WorkspaceId,
    },
};

#[async_trait]
impl TenancyStore for MemoryStore {
    async fn user(&self, id: UserId) -> Result<Option<User>> {
        Ok(self.lock().users.get(&id).cloned())
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>> {
        Ok(self.lock().users.values().find(|user| user.email.key() == email.key()).cloned())
    }

    async fn has_users(&self) -> Result<bool> {
        Ok(!self.lock().users.is_empty())
    }

    async fn organization(
        &self,
        id: OrganizationId,
        member: UserId,
    ) -> Result<Option<(Organization, Role)>> {
        let state = self.lock();
        let role = state.members.get(&(member, id)).copied();
        Ok(state.organizations.get(&id).cloned().zip(role))
    }

    async fn organizations(&self, member: UserId, page: PageRequest) -> Result<Page<Organization>> {
        let state = self.lock();
        let member_of = |it: &&Organization| state.members.contains_key(&(member, it.id));
        let mut all: Vec<_> = state.organizations.values().filter(member_of).collect();
        all.sort_by_key(|it| (it.created_at, it.id));
        Ok(page.of(all).map(Organization::clone))
    }

    async fn workspace(
        &self,
        id: WorkspaceId,
        member: UserId,
    ) -> Result<Option<(Workspace, Role)>> {
        let state = self.lock();
        let Some(found) = state.workspaces.get(&id).map(|head| &head.workspace) else {
            return Ok(None);
        };
        let role = state.members.get(&(member, found.organization_id));
        Ok(role.map(|role| (found.clone(), *role)))
    }

    async fn role(&self, user: UserId, of: OrganizationId) -> Result<Option<Role>> {
        Ok(self.lock().members.get(&(user, of)).copied())
    }

    async fn owners(&self, of: OrganizationId) -> Result<u64> {
        let state = self.lock();
        let mut roles = state.members.iter().filter(|((_, organization), _)| *organization == of);
        Ok(roles.by_ref().filter(|(_, role)| **role == Role::Owner).count() as u64)
    }

    async fn members(&self, of: OrganizationId, page: PageRequest) -> Result<Page<Member>> {
        let state = self.lock();
        let roles = state.members.iter().filter(|((_, organization), _)| *organization == of);
        let members = roles.filter_map(|((user, _), role)| {
            let user = state.users.get(user)?;
            Some(Member { user_id: user.id, email: user.email.clone(), role: *role })
        });
        Ok(page.of(members.collect::<Vec<_>>()))
    }

    async fn workspace_head(&self, id: WorkspaceId) -> Result<Option<RevisionNumber>> {
        Ok(self.lock().workspaces.get(&id).map(Head::number))
    }

    async fn workspaces(&self, of: OrganizationId, page: PageRequest) -> Result<Page<Workspace>> {
        let state = self.lock();
        let all = state.workspaces.values().map(|head| &head.workspace);
        let mut all: Vec<_> = all.filter(|it| it.organization_id == of).collect();
        all.sort_by_key(|it| (it.created_at, it.id));
        Ok(page.of(all).map(Workspace::clone))
    }

    async fn api_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>> {
        Ok(self.lock().api_keys.get(&id).map(|(key, _)| key.clone()))
    }

    async fn api_key_by_hash(&self, hash: &TokenHash) -> Result<Option<ApiKey>> {
        let state = self.lock();
        let found = state.api_keys.values().find(|(_, it)| it == hash);
        Ok(found.map(|(key, _)| key.clone()))
    }

    async fn api_keys(
        &self,
        of: OrganizationId,
        maker: Option<UserId>,
        page: PageRequest,
    ) -> Result<Page<ApiKey>> {
        let state = self.lock();
        let meant = |it: &&ApiKey| {
            it.organization_id == of && maker.is_none_or(|maker| it.user_id == maker)
        };
        let mut all: Vec<_> = state.api_keys.values().map(|(key, _)| key).filter(meant).collect();
        all.sort_by_key(|it| (it.created_at, it.id));
        Ok(page.of(all).map(ApiKey::clone))
    }

    async fn audit_log(
        &self,
        of: OrganizationId,
        filter: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>> {
        let state = self.lock();
        let meant = |it: &&AuditEntry| it.organization_id == of && filter.matches(it);
        let mut all: Vec<_> = state.audit_log.iter().filter(meant).collect();
        all.sort_by_key(|it| (it.created_at, it.id));
        Ok(page.of(all).map(AuditEntry::clone))
    }

    async fn drop_audit_entries(&self, before: DateTime<Utc>) -> Result<u64> {
        let entries = &mut self.lock().audit_log;
        let count = entries.len();
        entries.retain(|it| it.created_at >= before);
        Ok((count - entries.len()) as u64)
    }

    async fn refresh_token(&self, hash: &TokenHash) -> Result<Option<RefreshToken>> {
        Ok(self.lock().refresh_tokens.get(hash).cloned())
    }

    async fn signing_key(&self) -> Result<Option<SealedSigningKey>> {
        Ok(self.lock().signing_key.clone())
    }

    async fn commit(&self, change: TenancyChange, trail: Trail) -> Result<()> {
        check_trail(&change, &trail)?;
        let tenancy = change.leaves_trail();
        let moved = {
            let mut state = self.lock();
            let moved = commit(&mut state, change)?;
            state.record(trail);
            moved
        };
        let effect = Effect { tenancy, moved, recorded: true };
        self.local.count(&effect);
        self.local.tell(effect);
        Ok(())
    }

    async fn drop_expired(&self, before: DateTime<Utc>) -> Result<u64> {
        let mut state = self.lock();
        let count = state.refresh_tokens.len() + state.api_keys.len();
        state.refresh_tokens.retain(|_, it| it.expires_at >= before);
        state.api_keys.retain(|_, (it, _)| it.expires_at.is_none_or(|end| end >= before));
        Ok((count - state.refresh_tokens.len() - state.api_keys.len()) as u64)
    }

    fn changes(&self) -> Option<u64> {
        Some(self.local.tenancy_changes())
    }
}

/// Checks first and writes last: whatever is refused leaves no trace.
fn commit(state: &mut State, change: TenancyChange) -> Result<Vec<Moved>> {
    match change {
        TenancyChange::CreateFirstUser(_) if !state.users.is_empty() => {
            return Err(conflict("there are users already"));
        }
        TenancyChange::CreateFirstUser(user) | TenancyChange::CreateUser(user) => {
            if state.users.values().any(|it| it.email.key() == user.email.key()) {
                return Err(conflict("the e-mail address is taken"));
            }
            state.users.insert(user.id, user);
        }
        TenancyChange::SetPassword { user, password } => {
            check_user(state, user)?;
            state.users.entry(user).and_modify(|it| it.password = password);
            state.refresh_tokens.retain(|_, it| it.user_id != user);
        }
        TenancyChange::CreateApiKey { key, hash } => {
            if !state.organizations.contains_key(&key.organization_id) {
                return Err(Error::not_found("organization", key.organization_id));
            }
            check_user(state, key.user_id)?;
            state.api_keys.insert(key.id, (key, hash));
        }
        TenancyChange::DeleteApiKey(id) => {
            let missing = || Error::not_found("API key", id);
            state.api_keys.remove(&id).ok_or_else(missing)?;
        }
        TenancyChange::CreateOrganization { organization, owner } => {
            check_organization_slug(state, organization.id, &organization.slug)?;
            check_user(state, owner)?;
            state.members.insert((owner, organization.id), Role::Owner);
            state.organizations.insert(organization.id, organization);
        }
        TenancyChange::UpdateOrganization { organization, base } => {
            check_version(state, organization.id, base)?;
            check_organization_slug(state, organization.id, &organization.slug)?;
            state.organizations.insert(organization.id, organization);
        }
        TenancyChange::DeleteOrganization { id, base, cascade } => {
            check_version(state, id, base)?;
            let workspaces = state.workspaces.values().map(|it| &it.workspace);
            let inside = workspaces.filter(|it| it.organization_id == id).map(|it| it.id);
            let inside: Vec<_> = inside.collect();
            if cascade == Cascade::Refuse && !inside.is_empty() {
                return Err(conflict("the organization has workspaces"));
            }
            inside.iter().for_each(|it| remove_workspace(state, *it));
            state.organizations.remove(&id);
            state.api_keys.retain(|_, (it, _)| it.organization_id != id);
            state.members.retain(|(_, organization), _| *organization != id);
            let gone = |workspace_id| Moved { workspace_id, revision: None };
            return Ok(inside.into_iter().map(gone).collect());
        }
        TenancyChange::SetMember { organization, base, user, role } => {
            check_version(state, organization, base)?;
            check_user(state, user)?;
            state.organizations.entry(organization).and_modify(|it| it.version += 1);
            match role {
                Some(role) => state.members.insert((user, organization), role),
                None => state.members.remove(&(user, organization)),
            };
        }
        TenancyChange::CreateWorkspace { workspace, revision } => {
            if !state.organizations.contains_key(&workspace.organization_id) {
                return Err(Error::not_found("organization", workspace.organization_id));
            }
            check_workspace_slug(state, &workspace)?;
            let settings = GatewayWrite::PutSettings(Arc::new(workspace.settings.clone()));
            let mut head = Head::new(workspace);
            head.history.extend(revision.map(|it| (it, vec![settings])));
            state.workspaces.insert(head.workspace.id, head);
        }
        TenancyChange::UpdateWorkspace { workspace, base, revision } => {
            state.at(workspace.id, base)?;
            check_workspace_slug(state, &workspace)?;
            let head = state.at(workspace.id, base)?;
            let number = revision.number;
            let write = GatewayWrite::PutSettings(Arc::new(workspace.settings.clone()));
            head.history.push((revision, vec![write]));
            let workspace_id = workspace.id;
            head.workspace = workspace;
            return Ok(vec![Moved { workspace_id, revision: Some(number) }]);
        }
        TenancyChange::DeleteWorkspace { id, base, cascade } => {
            delete_workspace(state, id, base, cascade)?;
            return Ok(vec![Moved { workspace_id: id, revision: None }]);
        }
        TenancyChange::AddRefreshToken(token) => {
            check_user(state, token.user_id)?;
            state.refresh_tokens.insert(token.hash, token);
        }
        TenancyChange::RotateRefreshToken { used, next } => {
            if state.refresh_tokens.get(&used).is_none_or(|token| token.used) {
                return Err(conflict("the refresh token was used already"));
            }
            check_user(state, next.user_id)?;
            state.refresh_tokens.entry(used).and_modify(|token| token.used = true);
            state.refresh_tokens.insert(next.hash, next);
        }
        TenancyChange::RevokeFamily(family) => {
            state.refresh_tokens.retain(|_, it| it.family != family);
        }
        TenancyChange::CreateSigningKey { key, now: _ } => {
            if state.signing_key.is_some() {
                return Err(conflict("there is a signing key already"));
            }
            state.signing_key = Some(key);
        }
    }
    Ok(Vec::new())
}

fn check_user(state: &State, id: UserId) -> Result<()> {
    if state.users.contains_key(&id) { Ok(()) } else { Err(Error::not_found("user", id)) }
}

fn check_version(state: &State, id: OrganizationId, base: u64) -> Result<()> {
    let missing = || Error::not_found("organization", id);
    if state.organizations.get(&id).ok_or_else(missing)?.version != base {
        return Err(Error::new(ErrorKind::Stale, "the organization has moved on"));
    }
    Ok(())
}

fn check_organization_slug(state: &State, id: OrganizationId, slug: &Slug) -> Result<()> {
    if state.organizations.values().any(|it| it.slug == *slug && it.id != id) {
        return Err(slug_taken("an organization", slug));
    }
    Ok(())
}

fn check_workspace_slug(state: &State, workspace: &Workspace) -> Result<()> {
    let taken = |it: &Workspace| {
        it.organization_id == workspace.organization_id
            && it.slug == workspace.slug
            && it.id != workspace.id
    };
    if state.workspaces.values().any(|head| taken(&head.workspace)) {
        return Err(slug_taken("a workspace of the organization", &workspace.slug));
    }
    Ok(())
}

fn delete_workspace(
    state: &mut State,
    id: WorkspaceId,
    base: RevisionNumber,
    cascade: Cascade,
) -> Result<()> {
    let head = state.workspaces.get(&id).ok_or_else(|| Error::not_found("workspace", id))?;
    if head.workspace.revision != base {
        return Err(Error::new(ErrorKind::Stale, "the workspace has moved on"));
    }
    let mut agents = state.agents.values();
    if cascade == Cascade::Refuse && agents.any(|it| it.spec.workspace_id == id) {
        return Err(conflict("the workspace has agents"));
    }
    remove_workspace(state, id);
    Ok(())
}

fn remove_workspace(state: &mut State, id: WorkspaceId) {
    let agents = state.agents.values().map(|it| &it.spec);
    let agents: Vec<_> = agents.filter(|it| it.workspace_id == id).map(|it| it.id).collect();
    agents.into_iter().for_each(|it| state.write(GatewayWrite::DeleteAgent(it)));
    state.virtual_hosts.retain(|_, it| it.workspace_id != id);
    state.upstreams.retain(|_, it| it.workspace_id != id);
    state.workspaces.remove(&id);
}

fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

fn slug_taken(by: &str, slug: &Slug) -> Error {
    crate::store::slug_taken(by, slug.as_str())
}
