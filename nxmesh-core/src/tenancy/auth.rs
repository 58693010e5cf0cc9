//! Logging in, and proving it.

use chrono::{DateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Actor, Error, ErrorKind, FieldCode, PageRequest, Result, Secret, TokenHash, Trail,
    clock::new_id,
    tenancy::{
        ApiKey, AuditedObject, Context, Email, PasswordHash, RefreshToken, Shared, TenancyChange,
        UserId, api_keys::API_KEY_PREFIX,
    },
    token::new_token,
};

/// How long an access token works.
pub const ACCESS_TOKEN_SECONDS: i64 = 3600;
/// How long a refresh token works, if it is not used before.
pub const REFRESH_TOKEN_DAYS: i64 = 30;

const ISSUER: &str = "nxmesh";
/// No change makes an access token that we signed one that we did not.
const FOR_EVER: Option<u64> = Some(0);

/// What a login answers.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// An RS256 JWT, to be sent as `Authorization: Bearer`.
    pub access_token: Secret<String>,
    /// Buys the next pair, once.
    pub refresh_token: Secret<String>,
    /// How long the access token works, in seconds.
    pub expires_in: i64,
}

/// Logging in, and proving it: `mesh.tenancy().auth()`.
#[derive(Debug, Clone)]
pub struct Auth {
    context: Context,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: UserId,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

impl Auth {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Exchanges e-mail and password for tokens.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) for an unknown address and for a wrong
    /// password alike, after the same work.
    pub async fn login(&self, email: &str, password: Secret<String>) -> Result<Tokens> {
        let refused = || {
            Error::new(ErrorKind::Unauthenticated, "the e-mail address or the password is wrong")
        };
        let user = match Email::parse(email) {
            Ok(email) => self.context.store.user_by_email(&email).await?,
            Err(_) => None,
        };
        // One hash is verified, whoever it is.
        let stored = user.as_ref().map_or_else(PasswordHash::of_nobody, |it| it.password.clone());
        let right = stored.verify(password).await?;
        let user = user.filter(|_| right).ok_or_else(refused)?;
        let family = *new_id::<RefreshToken>(self.context.clock.as_ref()).as_uuid();
        let (text, token) = self.refresh_token(user.id, family);
        self.context.store.commit(TenancyChange::AddRefreshToken(token), Trail::default()).await?;
        self.tokens(user.id, text)
    }

    /// Exchanges a refresh token for the next pair. Whoever presents one that was used
    /// already holds a copy: all tokens of that login are revoked.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) when the token is unknown, expired or used.
    pub async fn refresh(&self, token: &str) -> Result<Tokens> {
        let refused = || Error::new(ErrorKind::Unauthenticated, "the refresh token is not valid");
        let hash = TokenHash::of(token);
        let found = self.context.store.refresh_token(&hash).await?.ok_or_else(refused)?;
        if found.expires_at <= self.context.clock.now() {
            return Err(refused());
        }
        let (text, next) = self.refresh_token(found.user_id, found.family);
        let rotated = match found.used {
            true => Err(refused()),
            false => {
                self.context
                    .store
                    .commit(
                        TenancyChange::RotateRefreshToken { used: hash, next },
                        Trail::default(),
                    )
                    .await
            }
        };
        match rotated {
            Ok(()) => self.tokens(found.user_id, text),
            Err(error)
                if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unauthenticated) =>
            {
                self.context
                    .store
                    .commit(TenancyChange::RevokeFamily(found.family), Trail::default())
                    .await?;
                Err(refused())
            }
            Err(error) => Err(error),
        }
    }

    /// Revokes all tokens of the login that this refresh token comes from; one that is
    /// unknown is fine too.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn logout(&self, refresh_token: &str) -> Result<()> {
        let hash = TokenHash::of(refresh_token);
        match self.context.store.refresh_token(&hash).await? {
            Some(found) => {
                self.context
                    .store
                    .commit(TenancyChange::RevokeFamily(found.family), Trail::default())
                    .await
            }
            None => Ok(()),
        }
    }

    /// Changes the actor's password. All their logins end, at the latest when their access
    /// tokens do. The audit log of each of their organizations says so.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming `current_password` or `new_password`;
    /// [`Forbidden`](ErrorKind::Forbidden) for an API key.
    pub async fn change_password(
        &self,
        actor: &Actor,
        current: Secret<String>,
        new: Secret<String>,
    ) -> Result<()> {
        if actor.api_key().is_some() {
            let message = "an API key cannot change a password: log in";
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let missing = || Error::not_found("user", actor.user_id());
        let user = self.context.store.user(actor.user_id()).await?.ok_or_else(missing)?;
        if !user.password.verify(current).await? {
            let (field, message) = ("current_password", "is not the password");
            return Err(Error::invalid_field(field, FieldCode::InvalidValue, message));
        }
        let password = PasswordHash::create_as("new_password", new).await?;
        let change = TenancyChange::SetPassword { user: user.id, password };
        let trail = self.password_changed(actor).await?;
        self.context.store.commit(change, trail).await
    }

    /// It belongs to no organization, so each that the user belongs to is told.
    async fn password_changed(&self, actor: &Actor) -> Result<Trail> {
        let user = actor.user_id();
        let found = self.context.store.organizations(user, PageRequest::whole()).await?;
        let mut trail = Trail::default();
        for organization in &found.data {
            let deed = self.context.deed(actor, organization.id);
            let object = AuditedObject::new("user", user);
            deed.note_as::<()>(&mut trail, object, "password_changed", (None, None), json!({}));
        }
        Ok(trail)
    }

    /// The public half of the key that signs access tokens, as a JSON Web Key Set (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({"keys": [self.context.signing_key.jwk()]})
    }

    /// Who sends this access token or API key.
    ///
    /// # Errors
    /// [`Unauthenticated`](ErrorKind::Unauthenticated) when it is not ours or has expired.
    pub async fn authenticate(&self, token: &str) -> Result<Actor> {
        let refused = || {
            Error::new(
                ErrorKind::Unauthenticated,
                "the access token or API key is not valid or has expired",
            )
        };
        let Shared { store, clock, signing_key, at_hand } = self.context.as_ref();
        let (now, hash) = (clock.now(), TokenHash::of(token));
        if token.starts_with(API_KEY_PREFIX) {
            let read = store.api_key_by_hash(&hash);
            let found = at_hand.api_keys.get(store.changes(), hash, read).await?;
            let key = found.filter(|it| it.expires_at.is_none_or(|end| end > now));
            let ApiKey { id, organization_id, role, user_id, expires_at, .. } =
                key.ok_or_else(refused)?;
            return Ok(Actor::key(id, user_id, organization_id, role).until(expires_at));
        }
        let verify = async {
            let claims: Option<Claims> = signing_key.verify(token);
            Ok(claims.filter(|it| it.iss == ISSUER).map(|it| (it.sub, it.exp)))
        };
        let found = at_hand.access_tokens.get(FOR_EVER, hash, verify).await?;
        let user = found.filter(|(_, end)| *end > now.timestamp());
        let actor = |(id, end)| Actor::user(id).until(DateTime::from_timestamp(end, 0));
        user.map(actor).ok_or_else(refused)
    }

    fn refresh_token(&self, user_id: UserId, family: Uuid) -> (Secret<String>, RefreshToken) {
        let text = new_token("");
        let hash = TokenHash::of(text.expose());
        let expires_at = self.context.clock.now() + TimeDelta::days(REFRESH_TOKEN_DAYS);
        (text, RefreshToken { hash, family, user_id, expires_at, used: false })
    }

    fn tokens(&self, user: UserId, refresh_token: Secret<String>) -> Result<Tokens> {
        let iat = self.context.clock.now().timestamp();
        let jti = *new_id::<Claims>(self.context.clock.as_ref()).as_uuid();
        let claims =
            Claims { iss: ISSUER.into(), sub: user, iat, exp: iat + ACCESS_TOKEN_SECONDS, jti };
        let access_token = Secret::new(self.context.signing_key.sign(&claims)?);
        Ok(Tokens { access_token, refresh_token, expires_in: ACCESS_TOKEN_SECONDS })
    }
}
