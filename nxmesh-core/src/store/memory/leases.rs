use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::MemoryStore;
use crate::{LeaseStore, Result};

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn take_lease(&self, name: &str, holder: Uuid, lasting: Duration) -> Result<bool> {
        Ok(self.local.take_lease(name, holder, lasting))
    }

    async fn return_lease(&self, name: &str, holder: Uuid) -> Result<()> {
        self.local.return_lease(name, holder);
        Ok(())
    }
}
