use serde_json::json;

use crate::{
    Actor, Error, ErrorKind, FieldCode, Page, PageRequest, Result, Secret, TokenHash, Trail,
    clock::new_id,
    tenancy::{
        ApiKey, ApiKeyId, AuditedObject, Context, NewApiKey, OrganizationId, Organizations,
        Permission, TenancyChange, access,
    },
    token::new_token,
    trail::Became,
};

/// How an API key begins.
pub(crate) const API_KEY_PREFIX: &str = "nxmesh_key_";

/// What programs log in with: `mesh.tenancy().api_keys()`.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    context: Context,
}

impl ApiKeys {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of an organization, in order of creation; whoever may not revoke others' keys
    /// sees their own.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such organization.
    pub async fn list(
        &self,
        actor: &Actor,
        of: OrganizationId,
        page: PageRequest,
    ) -> Result<Page<ApiKey>> {
        let (_, role) = self.organizations().held(actor, of, Permission::Read).await?;
        let all = access::check(role, Permission::RevokeApiKeys).is_ok();
        let maker = (!all).then(|| actor.user_id());
        self.context.store.api_keys(of, maker, page).await
    }

    /// Makes one. Its text is answered only here.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such organization,
    /// [`Invalid`](ErrorKind::Invalid) when the time is over already,
    /// [`Forbidden`](ErrorKind::Forbidden) for a role above the actor's own.
    pub async fn create(&self, actor: &Actor, new: NewApiKey) -> Result<(ApiKey, Secret<String>)> {
        let of = new.organization_id;
        let (_, role) = self.organizations().held(actor, of, Permission::Read).await?;
        let name = new.parse_name()?;
        let now = self.context.clock.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            let (field, message) = ("expires_at", "must be in the future");
            return Err(Error::invalid_field(field, FieldCode::OutOfRange, message));
        }
        if new.role > role {
            let message = format!(
                "a key with the role {} needs a maker with that role; yours is {role}",
                new.role
            );
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let text = new_token(API_KEY_PREFIX);
        let key = ApiKey {
            id: new_id(self.context.clock.as_ref()),
            organization_id: of,
            name,
            role: new.role,
            user_id: actor.user_id(),
            expires_at: new.expires_at,
            created_at: now,
        };
        let hash = TokenHash::of(text.expose());
        let object = AuditedObject::new("api_key", key.id);
        let more = json!({"name": key.name, "role": key.role});
        let trail = self.context.deed(actor, of).trail(object, Became::Created(&key), more);
        let change = TenancyChange::CreateApiKey { key: key.clone(), hash };
        self.context.store.commit(change, trail).await?;
        Ok((key, text))
    }

    /// Revokes one: one's own, or any with the permission.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden).
    pub async fn revoke(&self, actor: &Actor, id: ApiKeyId) -> Result<()> {
        let missing = || Error::not_found("API key", id);
        let key = self.context.store.api_key(id).await?.ok_or_else(missing)?;
        let held = self.organizations().held(actor, key.organization_id, Permission::Read).await;
        let (_, role) = held.map_err(|error| error.or_missing(missing))?;
        if key.user_id != actor.user_id() {
            access::check(role, Permission::RevokeApiKeys)?;
        }
        let object = AuditedObject::new("api_key", id);
        let mut trail = Trail::default();
        let deed = self.context.deed(actor, key.organization_id);
        deed.note_as(&mut trail, object, "revoked", (Some(&key), None), json!({"name": key.name}));
        self.context.store.commit(TenancyChange::DeleteApiKey(id), trail).await
    }

    fn organizations(&self) -> Organizations {
        Organizations::new(self.context.clone())
    }
}
