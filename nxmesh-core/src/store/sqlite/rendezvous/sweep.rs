use rusqlite::Connection;

use super::{
    listing::{Listed, unlist},
    open::Done,
    peers::{end_early, forget_idle},
    read::{OfferRow, offers},
};
use crate::{
    Result,
    rendezvous::{Expired, Millis, Nonce, Realm, RendezvousNews},
};

/// Once so many candidates are dropped a sweep ends: others have to write, too.
const CANDIDATES: usize = 2000;

/// Whether there is something to sweep that counts.
pub(super) fn is_due(db: &Connection, now: Millis) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM offers WHERE expires_at <= ?1)";
    Ok(db.prepare_cached(sql)?.query_row([now], |row| row.get(0))?)
}

pub(super) fn sweep(db: &Connection, now: Millis, most: u32) -> Result<Done<Vec<Expired>>> {
    let due = "WHERE o.expires_at <= ?1 ORDER BY o.expires_at LIMIT 1";
    let (mut swept, mut candidates) = (Vec::new(), 0);
    while swept.len() < most as usize && candidates < CANDIDATES {
        let Some(row) = offers(db, due, [now])?.pop() else { break };
        candidates += remove(db, &row)?;
        let sql = "SELECT name FROM realms WHERE id = ?1";
        let realm: String = db.prepare_cached(sql)?.query_row([row.realm], |row| row.get(0))?;
        let Some(realm) = Realm::parse(&realm) else { continue };
        swept.push(Expired { realm, id: row.offer.id, peer: row.offer.peer });
    }
    forget_nonces(db, now, u64::from(most))?;
    // Each offer had two peers at least, and some are deleted, not swept.
    forget_idle(db, now, most.saturating_mul(10))?;
    // Origins come and go.
    let sql = "DELETE FROM realms WHERE id IN (
                   SELECT id FROM realms r WHERE offers = 0
                       AND NOT EXISTS (SELECT 1 FROM peers WHERE realm = r.id) LIMIT ?1
               )";
    if !swept.is_empty() {
        db.prepare_cached(sql)?.execute([most])?;
    }
    let news = (!swept.is_empty()).then(|| RendezvousNews::Expired(swept.clone().into()));
    Ok(Done { answer: swept, effect: news.into_iter().collect() })
}

/// Takes an offer away, with all that belongs to it. Answers how many candidates.
pub(super) fn remove(db: &Connection, row: &OfferRow) -> Result<usize> {
    let OfferRow { seq, realm, peer, answerer, offer } = row;
    match answerer {
        None => {
            let last_seen = offer.last_seen;
            unlist(db, Listed { realm: *realm, seq: *seq, peer: *peer, last_seen }, &offer.topics)?;
            end_early(db, *seq, *peer)?;
        }
        Some(answerer) => {
            db.prepare_cached("UPDATE peers SET answers = answers - 1 WHERE id = ?1")?
                .execute([answerer])?;
        }
    }
    let candidates =
        db.prepare_cached("DELETE FROM candidates WHERE offer = ?1")?.execute([seq])?;
    db.prepare_cached("DELETE FROM parts WHERE offer = ?1")?.execute([seq])?;
    db.prepare_cached("DELETE FROM offers WHERE seq = ?1")?.execute([seq])?;
    db.prepare_cached("UPDATE peers SET offers = offers - 1 WHERE id = ?1")?.execute([peer])?;
    db.prepare_cached("UPDATE realms SET offers = offers - 1 WHERE id = ?1")?.execute([realm])?;
    db.prepare_cached("UPDATE totals SET offers = offers - 1")?.execute([])?;
    Ok(candidates)
}

/// Drops nonces that have expired, those first that expired first.
fn forget_nonces(db: &Connection, now: Millis, most: u64) -> Result<()> {
    let sql = "DELETE FROM nonces WHERE (key, nonce) IN (
                   SELECT key, nonce FROM nonces WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2
               )";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    db.prepare_cached(sql)?.execute((now, most))?;
    Ok(())
}

pub(super) fn use_nonces(db: &Connection, nonces: &[Nonce], now: Millis) -> Result<Vec<bool>> {
    // Two for one: however fast they come, those that have expired do not pile up.
    forget_nonces(db, now, 2 * nonces.len() as u64)?;
    let sql = "INSERT INTO nonces (key, nonce, expires_at) VALUES (?1, ?2, ?3)
               ON CONFLICT (key, nonce) DO UPDATE SET expires_at = excluded.expires_at
               WHERE nonces.expires_at <= ?4";
    let mut statement = db.prepare_cached(sql)?;
    let mut fresh = Vec::new();
    for Nonce { key, nonce, expires_at } in nonces {
        fresh.push(statement.execute((key.as_str(), nonce.as_bytes(), expires_at, now))? == 1);
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{super::open::MIGRATIONS, *};
    use crate::{ErrorKind, rendezvous::PublicKey, store::sqlite::migrate::migrate};

    fn database() -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, MIGRATIONS).unwrap();
        db
    }

    #[test]
    fn a_disk_that_is_full_is_told_as_such() {
        let db = database();
        let pages: u32 = db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        db.pragma_update(None, "max_page_count", pages).unwrap();
        let key = PublicKey::parse("a".repeat(64)).unwrap();
        let nonce = |it| Nonce { key: key.clone(), nonce: Uuid::from_u128(it), expires_at: 9 };
        let nonces: Vec<_> = (0..1000).map(nonce).collect();
        let error = use_nonces(&db, &nonces, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }

    #[test]
    fn nonces_that_expired_do_not_pile_up_between_sweeps() {
        let db = database();
        let key = PublicKey::parse("a".repeat(64)).unwrap();
        for call in 0..100_u128 {
            let now = call as Millis;
            let nonce = |it| Nonce {
                key: key.clone(),
                nonce: Uuid::from_u128(call * 10 + it),
                expires_at: now + 3,
            };
            let nonces: Vec<_> = (0..10).map(nonce).collect();
            assert_eq!(use_nonces(&db, &nonces, now).unwrap(), [true; 10]);
        }
        let left = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let left = db.query_row("SELECT count(*) FROM nonces", [], left).unwrap();
        assert!(left <= 50, "{left}");
    }
}
