use std::collections::HashSet;

use sqlx::Row;
use uuid::Uuid;

use super::{
    PostgresRendezvous,
    keys::nonce,
    rows::{string, unknown},
};
use crate::{
    Result,
    rendezvous::{Expired, Millis, Nonce, Realm, RendezvousNews},
};

impl PostgresRendezvous {
    pub(super) async fn sweep_some(&self, now: Millis, most: u32) -> Result<Vec<Expired>> {
        let sql = "SELECT * FROM rendezvous_sweep($1, $2)";
        let rows = self.change(|| sqlx::query(sql).bind(now).bind(i64::from(most))).await?;
        let mut swept = Vec::new();
        for row in &rows {
            let name = string(row, "realm_name")?;
            let realm = Realm::parse(&name).ok_or_else(|| unknown("a realm of another kind"))?;
            swept.push(Expired { realm, id: string(row, "id")?, peer: string(row, "peer")? });
        }
        if !swept.is_empty() {
            self.database.feed.count();
            self.database.feed.announce(RendezvousNews::Expired(swept.clone().into()));
        }
        Ok(swept)
    }

    pub(super) async fn note_nonces(&self, nonces: &[Nonce], now: Millis) -> Result<Vec<bool>> {
        let keys: Vec<Uuid> = nonces.iter().map(nonce).collect();
        let mut seen = HashSet::new();
        // Of those that are given twice the first one counts.
        let first: Vec<bool> = keys.iter().map(|it| seen.insert(*it)).collect();
        let once = || keys.iter().zip(nonces).zip(&first).filter(|(_, first)| **first);
        let (asked, expiries): (Vec<Uuid>, Vec<i64>) =
            once().map(|((key, nonce), _)| (*key, nonce.expires_at)).unzip();
        let statement = || {
            sqlx::query(
                // Two that have expired go for each: however fast they come, they do not pile up.
                "WITH old AS (
                     DELETE FROM rendezvous_nonces WHERE key = ANY (ARRAY(
                         SELECT key FROM rendezvous_nonces
                         WHERE expires_at <= $3 AND key <> ALL ($1)
                         ORDER BY expires_at LIMIT 2 * cardinality($1) FOR UPDATE SKIP LOCKED
                     ))
                 )
                 INSERT INTO rendezvous_nonces AS known (key, expires_at)
                 SELECT key, expires_at FROM unnest($1::uuid[], $2::bigint[]) AS it (key, expires_at)
                 ORDER BY key
                 ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at
                 WHERE known.expires_at <= $3 RETURNING key",
            )
            .bind(asked.clone())
            .bind(expiries.clone())
            .bind(now)
        };
        let rows = self.change(statement).await?;
        let used = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<HashSet<Uuid>>>()?;
        Ok(keys.iter().zip(first).map(|(key, first)| first && used.contains(key)).collect())
    }
}
