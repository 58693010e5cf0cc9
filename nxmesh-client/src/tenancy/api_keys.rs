use futures::Stream;
use nxmesh_core::{
    Secret,
    tenancy::{ApiKey, ApiKeyId, NewApiKey, OrganizationId},
};
use serde::Deserialize;

use crate::{Client, Result, paging, request::Call};

/// What programs log in with: `client.api_keys()`.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    client: Client,
}

/// A key that was just made, with its text, which is not shown again.
#[derive(Debug, Clone)]
pub struct CreatedApiKey {
    /// The key.
    pub api_key: ApiKey,
    /// What to log in with.
    pub key: Secret<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    api_key: ApiKey,
    key: String,
}

impl ApiKeys {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Those of an organization, oldest first; whoever is no admin there sees their own.
    pub fn list(
        &self,
        of: OrganizationId,
    ) -> impl Stream<Item = Result<ApiKey>> + Send + Unpin + use<> {
        let call = Call::get("api-keys".to_owned()).query("organization_id", of.to_string());
        paging::items(self.client.clone(), call)
    }

    /// Makes one.
    ///
    /// # Errors
    /// `FORBIDDEN` for a role above the caller's own, `VALIDATION_ERROR`, `NOT_FOUND`.
    pub async fn create(&self, new: &NewApiKey) -> Result<CreatedApiKey> {
        let Answer { api_key, key } =
            self.client.fetch(Call::post("api-keys".to_owned()).body(new)).await?;
        Ok(CreatedApiKey { api_key, key: Secret::new(key) })
    }

    /// Revokes one.
    ///
    /// # Errors
    /// `FORBIDDEN` when it is somebody else's and the caller is no admin, `NOT_FOUND`.
    pub async fn revoke(&self, id: ApiKeyId) -> Result<()> {
        self.client.send_only(Call::delete(format!("api-keys/{id}"))).await
    }
}
