use crate::{
    ErrorKind, Path, Problems, Result, Secret, Trail,
    clock::new_id,
    tenancy::{Context, Email, PasswordHash, TenancyChange, User},
};

/// The people: `mesh.tenancy().users()`.
#[derive(Debug, Clone)]
pub struct Users {
    context: Context,
}

impl Users {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Makes a user. For embedders: whoever can call this decides who may log in.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming `email` or `password`;
    /// [`Conflict`](ErrorKind::Conflict) when the address is taken.
    pub async fn create(&self, email: &str, password: Secret<String>) -> Result<User> {
        let user = self.parse(email, password).await?;
        self.context
            .store
            .commit(TenancyChange::CreateUser(user.clone()), Trail::default())
            .await?;
        Ok(user)
    }

    /// Makes the administrator of an empty store; `None` when it has users already.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming `email` or `password`.
    pub async fn create_first(
        &self,
        email: &str,
        password: Secret<String>,
    ) -> Result<Option<User>> {
        if self.context.store.has_users().await? {
            return Ok(None);
        }
        let user = self.parse(email, password).await?;
        let change = TenancyChange::CreateFirstUser(user.clone());
        match self.context.store.commit(change, Trail::default()).await {
            Ok(()) => Ok(Some(user)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn parse(&self, email: &str, password: Secret<String>) -> Result<User> {
        let mut problems = Problems::default();
        let email = problems.take(&Path::root().field("email"), Email::parse(email));
        let email = problems.finish_with(email)?;
        let password = PasswordHash::create(password).await?;
        let clock = self.context.clock.as_ref();
        Ok(User { id: new_id(clock), email, password, created_at: clock.now() })
    }
}
