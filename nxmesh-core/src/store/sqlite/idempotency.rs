use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::Connection;
use uuid::Uuid;

use super::{SqliteStore, writer::Written};
use crate::{
    Held, IdempotencyStore, KeyedHash, Reservation, Result,
    store::{
        TOGETHER,
        codec::{micros, number, time},
    },
    tenancy::Sealed,
};

#[async_trait]
impl IdempotencyStore for SqliteStore {
    async fn reserve(&self, reservation: &Reservation) -> Result<Option<Held>> {
        let reservation = reservation.clone();
        self.database.write(move |db| reserve(db, &reservation).map(Written::quietly)).await
    }

    async fn complete(&self, key: &KeyedHash, ticket: Uuid, answer: &Sealed) -> Result<bool> {
        let (key, answer) = (*key, answer.clone());
        let write = move |db: &Connection| {
            let sql = "UPDATE idempotency_keys SET answer = ?3 WHERE hash = ?1 AND ticket = ?2";
            let keys = (key.as_bytes(), ticket.as_bytes(), answer.as_bytes());
            Ok(Written::quietly(db.prepare_cached(sql)?.execute(keys)? == 1))
        };
        self.database.write(write).await
    }

    async fn release(&self, key: &KeyedHash, ticket: Uuid) -> Result<bool> {
        let key = *key;
        let write = move |db: &Connection| {
            let sql = "DELETE FROM idempotency_keys
                       WHERE hash = ?1 AND ticket = ?2 AND answer IS NULL";
            let released = db.prepare_cached(sql)?.execute((key.as_bytes(), ticket.as_bytes()))?;
            Ok(Written::quietly(released == 1))
        };
        self.database.write(write).await
    }

    async fn drop_expired(&self, now: DateTime<Utc>) -> Result<u64> {
        let write = move |db: &Connection| {
            let sql = "DELETE FROM idempotency_keys WHERE hash IN (
                           SELECT hash FROM idempotency_keys WHERE expires_at <= ?1 LIMIT ?2
                       )";
            let dropped = db.prepare_cached(sql)?.execute((micros(now), number(TOGETHER)?))?;
            Ok(Written::quietly(dropped as u64))
        };
        self.database.write(write).await
    }
}

fn reserve(db: &Connection, reservation: &Reservation) -> Result<Option<Held>> {
    let Reservation { key, ticket, request, reserved_at, expires_at } = reservation;
    let sql = "INSERT INTO idempotency_keys (hash, ticket, request, reserved_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (hash) DO UPDATE SET ticket = excluded.ticket, request = excluded.request,
                   reserved_at = excluded.reserved_at, expires_at = excluded.expires_at, answer = NULL
               WHERE idempotency_keys.expires_at <= excluded.reserved_at";
    let taken = db.prepare_cached(sql)?.execute((
        key.as_bytes(),
        ticket.as_bytes(),
        request.as_bytes(),
        micros(*reserved_at),
        micros(*expires_at),
    ))?;
    if taken == 1 {
        return Ok(None);
    }
    let sql = "SELECT request, reserved_at, answer FROM idempotency_keys WHERE hash = ?1";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([key.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let answer: Option<Vec<u8>> = row.get(2)?;
    Ok(Some(Held {
        request: KeyedHash::from_bytes(row.get(0)?),
        reserved_at: time(row.get(1)?)?,
        answer: answer.map(Sealed::from_bytes),
    }))
}
