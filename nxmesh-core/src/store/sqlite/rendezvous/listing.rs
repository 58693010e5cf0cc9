//! Which open offers stand under which topics, with the counts that are kept of them.

use rusqlite::{Connection, OptionalExtension};

use crate::Result;

/// An open offer, as it is listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) realm: i64,
    pub(super) seq: i64,
    pub(super) peer: i64,
    pub(super) last_seen: i64,
}

/// Puts an offer under its topics.
pub(super) fn list(db: &Connection, offer: Listed, topics: &[String]) -> Result<()> {
    let Listed { realm, seq, peer, last_seen } = offer;
    for topic in topics {
        let known = db
            .prepare_cached("SELECT id FROM topics WHERE realm = ?1 AND name = ?2")?
            .query_row((realm, topic), |row| row.get::<_, i64>(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                db.prepare_cached("UPDATE realms SET topics = topics + 1 WHERE id = ?1")?
                    .execute([realm])?;
                db.prepare_cached(
                    "INSERT INTO topics (realm, name, folded, offers, peers) VALUES (?1, ?2, ?3, 0, 0)",
                )?
                .insert((realm, topic, topic.to_ascii_lowercase()))?
            }
        };
        let offers: i64 = db
            .prepare_cached(
                "INSERT INTO topic_peers (topic, peer, offers) VALUES (?1, ?2, 1)
                 ON CONFLICT (topic, peer) DO UPDATE SET offers = offers + 1 RETURNING offers",
            )?
            .query_row((id, peer), |row| row.get(0))?;
        db.prepare_cached(
            "UPDATE topics SET offers = offers + 1, peers = peers + ?2 WHERE id = ?1",
        )?
        .execute((id, i64::from(offers == 1)))?;
        db.prepare_cached(
            "INSERT INTO open_offers (topic, last_seen, seq, peer) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((id, last_seen, seq, peer))?;
    }
    Ok(())
}

/// Takes an offer from its topics.
pub(super) fn unlist(db: &Connection, offer: Listed, topics: &[String]) -> Result<()> {
    let Listed { realm, seq, peer, last_seen } = offer;
    for topic in topics {
        let id: i64 = db
            .prepare_cached("SELECT id FROM topics WHERE realm = ?1 AND name = ?2")?
            .query_row((realm, topic), |row| row.get(0))?;
        db.prepare_cached(
            "DELETE FROM open_offers WHERE topic = ?1 AND last_seen = ?2 AND seq = ?3",
        )?
        .execute((id, last_seen, seq))?;
        let offers: i64 = db
            .prepare_cached(
                "UPDATE topic_peers SET offers = offers - 1 WHERE topic = ?1 AND peer = ?2
                 RETURNING offers",
            )?
            .query_row((id, peer), |row| row.get(0))?;
        if offers == 0 {
            db.prepare_cached("DELETE FROM topic_peers WHERE topic = ?1 AND peer = ?2")?
                .execute((id, peer))?;
        }
        let left: i64 = db
            .prepare_cached(
                "UPDATE topics SET offers = offers - 1, peers = peers - ?2 WHERE id = ?1
                 RETURNING offers",
            )?
            .query_row((id, i64::from(offers == 0)), |row| row.get(0))?;
        if left == 0 {
            db.prepare_cached("DELETE FROM topics WHERE id = ?1")?.execute([id])?;
            db.prepare_cached("UPDATE realms SET topics = topics - 1 WHERE id = ?1")?
                .execute([realm])?;
        }
    }
    Ok(())
}
