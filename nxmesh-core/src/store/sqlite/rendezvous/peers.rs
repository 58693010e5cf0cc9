//! Realms and peers, which have numbers here.

use rusqlite::{Connection, OptionalExtension};

use crate::{
    Result,
    rendezvous::{Millis, Realm},
};

/// For how long a peer's own stamp is remembered after it has passed.
const REMEMBERED: Millis = 60_000;

/// Forgets peers; it costs what is forgotten, not what is kept.
const FORGET: &str = "DELETE FROM peers WHERE id IN (
                          SELECT id FROM peers
                          WHERE offers = 0 AND answers = 0 AND early = 0 AND stamp < ?1 LIMIT ?2
                      ) RETURNING stamp";

/// The number of a realm; `None` when nothing was ever there.
pub(super) fn find_realm(db: &Connection, realm: &Realm) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached("SELECT id FROM realms WHERE name = ?1")?;
    Ok(statement.query_row([realm.to_text()], |row| row.get(0)).optional()?)
}

pub(super) fn realm(db: &Connection, realm: &Realm) -> Result<i64> {
    if let Some(known) = find_realm(db, realm)? {
        return Ok(known);
    }
    let mut statement = db.prepare_cached("INSERT INTO realms (name) VALUES (?1)")?;
    Ok(statement.insert([realm.to_text()])?)
}

/// The number of a peer; `None` when it has nothing here.
pub(super) fn find_peer(db: &Connection, realm: i64, name: &str) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached("SELECT id FROM peers WHERE realm = ?1 AND name = ?2")?;
    Ok(statement.query_row((realm, name), |row| row.get(0)).optional()?)
}

pub(super) fn peer(db: &Connection, realm: i64, name: &str) -> Result<i64> {
    if let Some(known) = find_peer(db, realm, name)? {
        return Ok(known);
    }
    let sql = "INSERT INTO peers (realm, name, stamp) VALUES (?1, ?2, (SELECT floor FROM totals))";
    Ok(db.prepare_cached(sql)?.insert((realm, name))?)
}

/// Gives `count` stamps of a peer, one after the other, and answers the first.
pub(super) fn stamps(db: &Connection, peer: i64, count: usize, now: Millis) -> Result<Millis> {
    let sql = "UPDATE peers SET stamp = max(?2, stamp + 1) + ?3 - 1 WHERE id = ?1 RETURNING stamp";
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: Millis = db.prepare_cached(sql)?.query_row((peer, now, count), |row| row.get(0))?;
    Ok(last - count + 1)
}

/// An offer is not open any more: whoever added candidates to this offer of somebody else's did not come early.
/// Answers whether there is any.
pub(super) fn end_early(db: &Connection, offer: i64, offerer: i64) -> Result<bool> {
    let sql = "UPDATE peers SET early = early - 1
               WHERE id IN (SELECT peer FROM parts WHERE offer = ?1 AND peer <> ?2)";
    Ok(db.prepare_cached(sql)?.execute((offer, offerer))? > 0)
}

/// Forgets some peers that have nothing here any more. What is delivered to them later is above all that they
/// have seen, whatever the clock says then.
pub(super) fn forget_idle(db: &Connection, now: Millis, most: u32) -> Result<()> {
    let mut highest = None;
    let mut statement = db.prepare_cached(FORGET)?;
    let mut rows = statement.query((now - REMEMBERED, most))?;
    while let Some(row) = rows.next()? {
        highest = highest.max(Some(row.get::<_, Millis>(0)?));
    }
    if let Some(highest) = highest {
        db.prepare_cached("UPDATE totals SET floor = max(floor, ?1)")?.execute([highest])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::{super::open::MIGRATIONS, *};
    use crate::store::sqlite::migrate::migrate;

    #[test]
    fn a_sweep_does_not_go_over_peers_that_came_early() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, MIGRATIONS).unwrap();
        db.execute_batch(
            "INSERT INTO realms (id, name) VALUES (1, 'rpc');
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
             INSERT INTO peers (realm, name, early) SELECT 1, i, 1 FROM n;
             INSERT INTO peers (realm, name) VALUES (1, 'idle');",
        )
        .unwrap();
        let mut statement = db.prepare(FORGET).unwrap();
        let forgotten = statement.query_map((100_000, 10), |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(forgotten.count(), 1);
        let steps = statement.get_status(StatementStatus::VmStep);
        assert!(steps < 1000, "{steps}");
    }
}
