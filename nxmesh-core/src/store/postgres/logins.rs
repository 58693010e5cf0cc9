//! Changes of users, and of what lets people and programs in.

use chrono::{DateTime, Utc};

use super::{
    PostgresStore, connections::Statement, error::constraint, events::bind_trail, rows::key,
    tenancy::conflict,
};
use crate::{
    Error, Result, TokenHash,
    store::codec::{TrailRows, micros, to_body},
    tenancy::{ApiKey, PasswordHash, RefreshToken, SealedSigningKey, User, UserId},
};

impl PostgresStore {
    pub(super) async fn create_first_user(&self, user: &User) -> Result<()> {
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

    pub(super) async fn create_user(&self, user: &User) -> Result<()> {
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

    pub(super) async fn set_password(
        &self,
        id: UserId,
        password: &PasswordHash,
        trail: &TrailRows,
    ) -> Result<()> {
        let statement = sqlx::query(
            "WITH changed AS (
                 UPDATE users SET password = $2 WHERE id = $1 RETURNING id
             ), revoked AS (
                 DELETE FROM refresh_tokens USING changed WHERE user_id = changed.id
             )
             SELECT record_trail($3, $4) FROM changed",
        );
        let statement = statement.bind(key(id)).bind(password.as_str().to_owned());
        let changed = self.database.try_change(bind_trail(statement, trail)?).await?;
        changed.map(|_| ()).ok_or_else(|| Error::not_found("user", id))
    }

    pub(super) async fn create_api_key(
        &self,
        api_key: &ApiKey,
        hash: TokenHash,
        trail: &TrailRows,
    ) -> Result<()> {
        let statement = sqlx::query(
            "WITH made AS (
                 INSERT INTO api_keys (id, hash, organization_id, user_id, expires_at, created_at, body)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
             )
             SELECT record_trail($8, $9) FROM made",
        );
        let statement = statement
            .bind(key(api_key.id))
            .bind(hash.as_bytes().to_vec())
            .bind(key(api_key.organization_id))
            .bind(key(api_key.user_id))
            .bind(api_key.expires_at.map(micros))
            .bind(micros(api_key.created_at))
            .bind(to_body(api_key)?);
        let made = self.database.change(bind_trail(statement, trail)?).await;
        made.map(|_| ()).map_err(|error| match constraint(&error) {
            Some("api_keys_organization_id_fkey") => {
                Error::not_found("organization", api_key.organization_id)
            }
            Some("api_keys_user_id_fkey") => Error::not_found("user", api_key.user_id),
            _ => error,
        })
    }

    pub(super) async fn add_refresh_token(&self, token: &RefreshToken) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO refresh_tokens (hash, family, user_id, expires_at, used)
             VALUES ($1, $2, $3, $4, $5)",
        );
        let added = self.database.execute(bind_token(statement, token)).await;
        added.map(|_| ()).map_err(|error| user_gone(error, token))
    }

    pub(super) async fn rotate_refresh_token(
        &self,
        used: TokenHash,
        next: &RefreshToken,
    ) -> Result<()> {
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

    pub(super) async fn create_signing_key(
        &self,
        key: SealedSigningKey,
        now: DateTime<Utc>,
    ) -> Result<()> {
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

fn user_gone(error: Error, token: &RefreshToken) -> Error {
    match constraint(&error) {
        Some("refresh_tokens_user_id_fkey") => Error::not_found("user", token.user_id),
        _ => error,
    }
}
