use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use super::PostgresStore;
use crate::{
    Error, ErrorKind, Held, IdempotencyStore, KeyedHash, Reservation, Result,
    store::{
        TOGETHER,
        codec::{micros, number, time},
    },
    tenancy::Sealed,
};

#[async_trait]
impl IdempotencyStore for PostgresStore {
    async fn reserve(&self, reservation: &Reservation) -> Result<Option<Held>> {
        let Reservation { key, ticket, request, reserved_at, expires_at } = reservation;
        // A row that is held is written as it is: only so does it come back from the statement
        // that found it held, whichever server was faster.
        let statement = sqlx::query(include_str!("sql/reserve.sql"))
            .bind(key.as_bytes())
            .bind(*ticket)
            .bind(request.as_bytes())
            .bind(micros(*reserved_at))
            .bind(micros(*expires_at));
        let row = self.database.change(statement).await?;
        if row.try_get::<Uuid, _>(0)? == *ticket {
            return Ok(None);
        }
        let request: Vec<u8> = row.try_get(1)?;
        let bad = |_| Error::new(ErrorKind::Corrupt, "a stored hash has the wrong length");
        let answer: Option<Vec<u8>> = row.try_get(3)?;
        Ok(Some(Held {
            request: KeyedHash::from_bytes(request.try_into().map_err(bad)?),
            reserved_at: time(row.try_get(2)?)?,
            answer: answer.map(Sealed::from_bytes),
        }))
    }

    async fn complete(&self, key: &KeyedHash, ticket: Uuid, answer: &Sealed) -> Result<bool> {
        let statement =
            sqlx::query("UPDATE idempotency_keys SET answer = $3 WHERE hash = $1 AND ticket = $2");
        let statement = statement.bind(key.as_bytes()).bind(ticket).bind(answer.as_bytes());
        Ok(self.database.execute(statement).await? == 1)
    }

    async fn release(&self, key: &KeyedHash, ticket: Uuid) -> Result<bool> {
        let statement = sqlx::query(
            "DELETE FROM idempotency_keys WHERE hash = $1 AND ticket = $2 AND answer IS NULL",
        );
        Ok(self.database.execute(statement.bind(key.as_bytes()).bind(ticket)).await? == 1)
    }

    async fn drop_expired(&self, now: DateTime<Utc>) -> Result<u64> {
        let statement = sqlx::query(
            "DELETE FROM idempotency_keys WHERE hash IN (
                 SELECT hash FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2
             )",
        );
        self.database.execute(statement.bind(micros(now)).bind(number(TOGETHER)?)).await
    }
}
