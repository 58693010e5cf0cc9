use nxmesh_core::Secret;
use serde::Deserialize;
use serde_json::json;

use crate::{Client, Result, request::Call, sender};

/// Logging in: `client.auth()`.
#[derive(Debug, Clone)]
pub struct Auth {
    client: Client,
}

/// What a client is logged in with.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: Secret<String>,
    pub(crate) refresh: Option<Secret<String>>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    refresh_token: String,
}

impl Auth {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Logs the client in, and all its clones. It stays so: tokens that expire are renewed.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when address or password is wrong.
    pub async fn login(&self, email: &str, password: &str) -> Result<()> {
        let call = Call::post("auth/login".to_owned())
            .body(&json!({"email": email, "password": password}));
        self.take(call).await
    }

    /// Renews the tokens now.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when that is not possible any more: log in again.
    pub async fn refresh(&self) -> Result<()> {
        let refresh = self.client.tokens().and_then(|it| it.refresh);
        let refresh = refresh.map(|it| it.expose().clone()).unwrap_or_default();
        let call = Call::post("auth/refresh".to_owned()).body(&json!({"refresh_token": refresh}));
        self.take(call).await
    }

    /// Ends this login: its refresh token and all that came from it are worth nothing any more.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn logout(&self) -> Result<()> {
        let refresh = self.client.tokens().and_then(|it| it.refresh);
        if let Some(refresh) = refresh {
            let body = json!({"refresh_token": refresh.expose()});
            self.client.send_only(Call::post("auth/logout".to_owned()).body(&body)).await?;
        }
        self.client.forget();
        Ok(())
    }

    /// Changes the password. All logins end: log in again.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`, naming `current_password` or `new_password`.
    pub async fn change_password(&self, current: &str, new: &str) -> Result<()> {
        let body = json!({"current_password": current, "new_password": new});
        self.client.send_only(Call::post("auth/password".to_owned()).body(&body)).await
    }

    /// The token that is sent with each request, if there is one.
    #[must_use]
    pub fn access_token(&self) -> Option<Secret<String>> {
        self.client.tokens().map(|it| it.access)
    }

    async fn take(&self, call: Call) -> Result<()> {
        let (status, body) = self.client.send_as(&call, None).await?;
        let Answer { access_token, refresh_token } = sender::read(status, &body)?;
        self.client.keep(Tokens {
            access: Secret::new(access_token),
            refresh: Some(Secret::new(refresh_token)),
        });
        Ok(())
    }
}
