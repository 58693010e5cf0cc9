use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;

use super::{
    listing::{Listed, list, unlist},
    open::Done,
    peers::{find_peer, find_realm, peer, realm},
    read::{OfferRow, find, find_live, offers},
    sweep::remove,
};
use crate::{
    Result,
    rendezvous::{
        Heartbeat, Millis, NewOffer, Offer, Publish, PublishOutcome, Published, Realm,
        RendezvousNews,
    },
    store::codec::to_body,
};

/// Why nothing was published; what was begun is undone.
pub(super) enum Refused {
    Outcome(PublishOutcome),
    Failed(crate::Error),
}

impl<E: Into<crate::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) fn publish(db: &Connection, publish: &Publish) -> Result<Done<PublishOutcome>> {
    db.prepare_cached("SAVEPOINT publish")?.execute([])?;
    let done = try_publish(db, publish);
    if done.is_err() {
        db.prepare_cached("ROLLBACK TO publish")?.execute([])?;
    }
    db.prepare_cached("RELEASE publish")?.execute([])?;
    match done {
        Ok(done) => Ok(done),
        Err(Refused::Outcome(outcome)) => Ok(Done::quietly(outcome)),
        Err(Refused::Failed(error)) => Err(error),
    }
}

fn try_publish(db: &Connection, publish: &Publish) -> Result<Done<PublishOutcome>, Refused> {
    let Publish { realm: in_realm, peer: name, offers, now, quota } = publish;
    let now = *now;
    let realm = realm(db, in_realm)?;
    let peer = peer(db, realm, name)?;
    let (mut published, mut new) = (HashMap::new(), Vec::new());
    for offer in offers {
        let known = find(db, realm, &offer.id)?;
        let known = match known {
            Some(known) if known.offer.expires_at <= now => {
                remove(db, &known)?;
                None
            }
            known => known,
        };
        if let Some(known) = known {
            if known.peer != peer || !is_same(&known.offer, offer) {
                return Err(Refused::Outcome(PublishOutcome::Taken(offer.id.clone())));
            }
            published.insert(&offer.id, keep(db, &known, offer, now)?);
            continue;
        }
        published.insert(&offer.id, add(db, realm, peer, offer, now)?);
        new.push((offer.id.clone(), offer.topics.clone()));
    }
    // Of one that is there twice, the last counts.
    let published = offers.iter().filter_map(|it| published.get(&it.id).copied()).collect();
    if new.is_empty() {
        return Ok(Done::quietly(PublishOutcome::Published(published)));
    }
    let sql = "SELECT offers FROM peers WHERE id = ?1";
    let of_peer: u64 = db.prepare_cached(sql)?.query_row([peer], |row| row.get(0))?;
    if of_peer > u64::from(quota.of_peer) && live_of(db, peer, now)? > u64::from(quota.of_peer) {
        return Err(Refused::Outcome(PublishOutcome::TooManyOfPeer));
    }
    let sql = "SELECT offers FROM totals";
    let of_all: u64 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    if of_all > quota.of_all && !has_expired(db, of_all - quota.of_all, now)? {
        return Err(Refused::Outcome(PublishOutcome::Full));
    }
    Ok(Done { answer: PublishOutcome::Published(published), effect: vec![told(in_realm, new)] })
}

/// What there is to tell of offers that are new where they are, with their topics.
fn told(realm: &Realm, new: Vec<(String, Vec<String>)>) -> RendezvousNews {
    RendezvousNews::Published { realm: realm.clone(), offers: new.into() }
}

/// How many offers of a peer have not expired: asked only where all of them are too many.
fn live_of(db: &Connection, peer: i64, now: Millis) -> Result<u64> {
    let sql = "SELECT count(*) FROM offers WHERE peer = ?1 AND expires_at > ?2";
    Ok(db.prepare_cached(sql)?.query_row((peer, now), |row| row.get(0))?)
}

/// Whether so many have expired: asked only where all that there are are too many.
fn has_expired(db: &Connection, many: u64, now: Millis) -> Result<bool> {
    let many = i64::try_from(many).unwrap_or(i64::MAX);
    let sql = "SELECT count(*) = ?2 FROM (SELECT 1 FROM offers WHERE expires_at <= ?1 LIMIT ?2)";
    Ok(db.prepare_cached(sql)?.query_row((now, many), |row| row.get(0))?)
}

fn is_same(known: &Offer, new: &NewOffer) -> bool {
    let topics = |of: &[String]| of.iter().cloned().collect::<BTreeSet<_>>();
    known.sdp == new.sdp && topics(&known.topics) == topics(&new.topics)
}

fn add(db: &Connection, realm: i64, peer: i64, offer: &NewOffer, now: Millis) -> Result<Published> {
    let NewOffer { id, sdp, topics, info, secret, expires_at } = offer;
    let sql = "UPDATE peers SET offers = offers + 1, created_at = max(?2, created_at + 1)
               WHERE id = ?1 RETURNING created_at";
    let created_at: Millis = db.prepare_cached(sql)?.query_row((peer, now), |row| row.get(0))?;
    let sql = "INSERT INTO offers (realm, id, peer, created_at, last_seen, expires_at, topics, info, secret, sdp)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let seq = db.prepare_cached(sql)?.insert((
        realm,
        id,
        peer,
        created_at,
        now,
        expires_at,
        to_body(topics)?,
        info,
        secret.as_ref().map(|it| it.as_bytes()),
        &**sdp,
    ))?;
    db.prepare_cached("UPDATE realms SET offers = offers + 1 WHERE id = ?1")?.execute([realm])?;
    db.prepare_cached("UPDATE totals SET offers = offers + 1")?.execute([])?;
    list(db, Listed { realm, seq, peer, last_seen: now }, topics)?;
    Ok(Published { created_at, expires_at: *expires_at })
}

/// Keeps an offer that is published once more.
fn keep(db: &Connection, known: &OfferRow, new: &NewOffer, now: Millis) -> Result<Published> {
    see(db, known, now)?;
    let sql = "UPDATE offers SET expires_at = ?2, info = ?3, secret = ?4 WHERE seq = ?1";
    let secret = new.secret.as_ref().map(|it| it.as_bytes());
    db.prepare_cached(sql)?.execute((known.seq, new.expires_at, &new.info, secret))?;
    Ok(Published { created_at: known.offer.created_at, expires_at: new.expires_at })
}

/// The peer of an offer was heard of.
fn see(db: &Connection, known: &OfferRow, now: Millis) -> Result<()> {
    let last_seen = known.offer.last_seen;
    if last_seen >= now {
        return Ok(());
    }
    if known.offer.answered.is_none() {
        let sql = "UPDATE open_offers SET last_seen = ?4
                   WHERE topic = (SELECT id FROM topics WHERE realm = ?1 AND name = ?5)
                       AND last_seen = ?2 AND seq = ?3";
        for topic in &known.offer.topics {
            db.prepare_cached(sql)?.execute((known.realm, last_seen, known.seq, now, topic))?;
        }
    }
    db.prepare_cached("UPDATE offers SET last_seen = ?2 WHERE seq = ?1")?
        .execute((known.seq, now))?;
    Ok(())
}

pub(super) fn heartbeat(
    db: &Connection,
    realm: &Realm,
    id: &str,
    by: &str,
    now: Millis,
) -> Result<Heartbeat> {
    let Some(known) = find_live(db, realm, id, now)? else { return Ok(Heartbeat::NotFound) };
    if known.offer.peer != by {
        return Ok(Heartbeat::NotAllowed);
    }
    see(db, &known, now)?;
    Ok(Heartbeat::Seen)
}

pub(super) fn delete(db: &Connection, realm: &Realm, id: &str, by: &str) -> Result<bool> {
    let Some(realm) = find_realm(db, realm)? else { return Ok(false) };
    let known = find(db, realm, id)?.filter(|it| it.offer.peer == by);
    known.as_ref().map(|it| remove(db, it)).transpose().map(|it| it.is_some())
}

pub(super) fn retag(
    db: &Connection,
    in_realm: &Realm,
    by: &str,
    topics: &[String],
    now: Millis,
) -> Result<u64> {
    let Some(realm) = find_realm(db, in_realm)? else { return Ok(0) };
    let Some(peer) = find_peer(db, realm, by)? else { return Ok(0) };
    let open = "WHERE o.peer = ?1 AND o.expires_at > ?2 AND o.answered_at IS NULL";
    let known = offers(db, open, (peer, now))?;
    let body = to_body(&topics)?;
    for OfferRow { seq, realm, peer, answerer: _, offer } in &known {
        let listed = Listed { realm: *realm, seq: *seq, peer: *peer, last_seen: offer.last_seen };
        unlist(db, listed, &offer.topics)?;
        list(db, listed, topics)?;
        db.prepare_cached("UPDATE offers SET topics = ?2 WHERE seq = ?1")?.execute((seq, &body))?;
    }
    Ok(known.len() as u64)
}
