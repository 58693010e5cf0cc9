use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{PostgresStore, rows::seconds};
use crate::{LeaseStore, Result};

#[async_trait]
impl LeaseStore for PostgresStore {
    async fn take_lease(&self, name: &str, holder: Uuid, lasting: Duration) -> Result<bool> {
        let statement = sqlx::query(
            "INSERT INTO leases (name, holder, ends_at)
             VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at
             WHERE leases.holder = excluded.holder OR leases.ends_at <= clock_timestamp()",
        );
        let statement = statement.bind(name).bind(holder).bind(seconds(lasting));
        Ok(self.database.execute(statement).await? == 1)
    }

    async fn return_lease(&self, name: &str, holder: Uuid) -> Result<()> {
        let statement = sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2");
        self.database.execute(statement.bind(name).bind(holder)).await.map(|_| ())
    }
}
