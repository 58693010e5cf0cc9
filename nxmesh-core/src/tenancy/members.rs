use serde_json::json;

use crate::{
    Actor, Error, ErrorKind, FieldCode, Page, PageRequest, Path, Problems, Result, Trail,
    tenancy::{
        AuditedObject, Context, Email, Member, MemberPatch, NewMember, OrganizationId,
        Organizations, Permission, Role, TenancyChange, UserId,
    },
};

/// How often a change that another one overtook is tried anew before the caller is told.
const MAX_ATTEMPTS: usize = 16;

/// The members of organizations: `mesh.tenancy().members()`.
#[derive(Debug, Clone)]
pub struct Members {
    context: Context,
}

impl Members {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Those of an organization, by their ids.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such organization.
    pub async fn list(
        &self,
        actor: &Actor,
        of: OrganizationId,
        page: PageRequest,
    ) -> Result<Page<Member>> {
        self.organizations().held(actor, of, Permission::Read).await?;
        self.context.store.members(of, page).await
    }

    /// Adds somebody who has an account.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such organization,
    /// [`Forbidden`](ErrorKind::Forbidden), [`Invalid`](ErrorKind::Invalid) when nobody has the
    /// address, [`Conflict`](ErrorKind::Conflict) when they belong to it already.
    pub async fn add(&self, actor: &Actor, of: OrganizationId, new: NewMember) -> Result<Member> {
        self.organizations().held(actor, of, Permission::WriteMembers).await?;
        let mut problems = Problems::default();
        let email = problems.take(&Path::root().field("email"), Email::parse(new.email));
        let email = problems.finish_with(email)?;
        let unknown = || {
            let message = "nobody has an account with this address";
            Error::invalid_field("email", FieldCode::NotFound, message)
        };
        let user = self.context.store.user_by_email(&email).await?.ok_or_else(unknown)?;
        let member = Member { user_id: user.id, email: user.email, role: new.role };
        self.set(actor, of, user.id, |before, _| match before {
            Some(_) => Err(Error::new(ErrorKind::Conflict, "they are a member already")),
            None => Ok(Some(new.role)),
        })
        .await?;
        Ok(member)
    }

    /// Changes somebody's role. Anybody may take a lesser one themselves.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden),
    /// [`Conflict`](ErrorKind::Conflict) when the last owner would be gone.
    pub async fn update(
        &self,
        actor: &Actor,
        of: OrganizationId,
        user: UserId,
        patch: MemberPatch,
    ) -> Result<Member> {
        let missing = || Error::not_found("member", user);
        self.set(actor, of, user, |before, owners| {
            keep_an_owner(before.ok_or_else(missing)?, owners, Some(patch.role))
        })
        .await?;
        let found = self.context.store.user(user).await?.ok_or_else(missing)?;
        Ok(Member { user_id: user, email: found.email, role: patch.role })
    }

    /// Removes somebody. Anybody may remove themselves.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Forbidden`](ErrorKind::Forbidden),
    /// [`Conflict`](ErrorKind::Conflict) when the last owner would be gone.
    pub async fn remove(&self, actor: &Actor, of: OrganizationId, user: UserId) -> Result<()> {
        let missing = || Error::not_found("member", user);
        self.set(actor, of, user, |before, owners| {
            keep_an_owner(before.ok_or_else(missing)?, owners, None)
        })
        .await
    }

    /// Decides on who is a member, and commits; decides anew when that has changed.
    async fn set(
        &self,
        actor: &Actor,
        of: OrganizationId,
        user: UserId,
        decide: impl Fn(Option<Role>, u64) -> Result<Option<Role>> + Send,
    ) -> Result<()> {
        let leaves = actor.user_id() == user && actor.api_key().is_none();
        for _ in 0..MAX_ATTEMPTS {
            let permission = if leaves { Permission::Read } else { Permission::WriteMembers };
            // The version first: whoever changes after this line makes the commit stale.
            let (organization, own) = self.organizations().held(actor, of, permission).await?;
            let before = self.context.store.role(user, of).await?;
            let owners = self.context.store.owners(of).await?;
            let role = decide(before, owners)?;
            if leaves && role > Some(own) {
                super::access::check(own, Permission::WriteMembers)?;
            }
            let change = TenancyChange::SetMember {
                organization: of,
                base: organization.version,
                user,
                role,
            };
            let member = |role: Option<Role>| role.map(|role| json!({"role": role}));
            let (was, is) = (member(before), member(role));
            let verb = match (before, role) {
                (None, _) => "added",
                (Some(_), Some(_)) => "updated",
                (Some(_), None) => "removed",
            };
            let mut trail = Trail::default();
            let object = AuditedObject::new("member", user);
            let deed = self.context.deed(actor, of);
            deed.note_as(
                &mut trail,
                object,
                verb,
                (was.as_ref(), is.as_ref()),
                json!({"role": role}),
            );
            match self.context.store.commit(change, trail).await {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                done => return done,
            }
        }
        let message = "the members change too fast: try again";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    fn organizations(&self) -> Organizations {
        Organizations::new(self.context.clone())
    }
}

fn keep_an_owner(before: Role, owners: u64, after: Option<Role>) -> Result<Option<Role>> {
    if before == Role::Owner && after != Some(Role::Owner) && owners == 1 {
        let message = "an organization needs an owner: make somebody else one first";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(after)
}
