//! Realms and peers, which have numbers here.

use rusqlite::{Connection, OptionalExtension};

use crate::{
    Result,
    rendezvous::{Millis, Realm},
};

/// For how long a stamp is remembered after it has passed: no clock of a server is further behind.
const REMEMBERED: Millis = 60_000;

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
    let mut statement = db.prepare_cached("INSERT INTO peers (realm, name) VALUES (?1, ?2)")?;
    Ok(statement.insert((realm, name))?)
}

/// Gives `count` stamps of a peer, one after the other, and answers the first.
pub(super) fn stamps(db: &Connection, peer: i64, count: usize, now: Millis) -> Result<Millis> {
    let sql = "UPDATE peers SET stamp = max(?2, stamp + 1) + ?3 - 1 WHERE id = ?1 RETURNING stamp";
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: Millis = db.prepare_cached(sql)?.query_row((peer, now, count), |row| row.get(0))?;
    Ok(last - count + 1)
}

/// Forgets some peers that have nothing here any more.
pub(super) fn forget_idle(db: &Connection, now: Millis, most: u32) -> Result<()> {
    let sql = "DELETE FROM peers WHERE id IN (
                   SELECT id FROM peers p WHERE offers = 0 AND answers = 0 AND stamp < ?1
                       AND NOT EXISTS (SELECT 1 FROM parts WHERE peer = p.id) LIMIT ?2
               )";
    db.prepare_cached(sql)?.execute((now - REMEMBERED, most))?;
    Ok(())
}
