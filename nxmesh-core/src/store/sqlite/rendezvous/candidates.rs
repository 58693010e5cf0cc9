use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::{
    open::Done,
    peers::{find_peer, find_realm, peer, stamps},
    read::{OfferRow, find_live},
};
use crate::{
    Result,
    rendezvous::{
        AddCandidates, Candidate, CandidatesAdded, Delivered, Delivery, Millis, ReadCandidates,
        Realm, RendezvousNews, Role,
    },
    store::codec::from_body,
};

/// A live offer, without what is large.
struct Ends {
    seq: i64,
    peer: i64,
    offerer: String,
    answerer: Option<(i64, String)>,
}

/// Which part a peer has.
impl Ends {
    fn find(db: &Connection, realm: i64, id: &str, now: Millis) -> Result<Option<Self>> {
        let sql = "SELECT o.seq, o.peer, p.name, o.answerer, a.name FROM offers o
                   JOIN peers p ON p.id = o.peer LEFT JOIN peers a ON a.id = o.answerer
                   WHERE o.realm = ?1 AND o.id = ?2 AND o.expires_at > ?3";
        let mut statement = db.prepare_cached(sql)?;
        let found = statement.query_row((realm, id, now), |row| {
            let answerer: Option<i64> = row.get(3)?;
            let answerer = answerer.map(|id| Ok::<_, rusqlite::Error>((id, row.get(4)?)));
            Ok(Self {
                seq: row.get(0)?,
                peer: row.get(1)?,
                offerer: row.get(2)?,
                answerer: answerer.transpose()?,
            })
        });
        Ok(found.optional()?)
    }

    fn role(&self, by: &str) -> Option<Role> {
        if self.offerer == by {
            return Some(Role::Offerer);
        }
        self.answerer.as_ref().is_some_and(|(_, name)| name == by).then_some(Role::Answerer)
    }

    /// How many candidates a peer has here, if any.
    fn part_of(&self, db: &Connection, realm: i64, by: &str) -> Result<Option<u64>> {
        let sql = "SELECT candidates FROM parts WHERE offer = ?1
                       AND peer = (SELECT id FROM peers WHERE realm = ?2 AND name = ?3)";
        let mut statement = db.prepare_cached(sql)?;
        Ok(statement.query_row((self.seq, realm, by), |row| row.get(0)).optional()?)
    }

    /// How many candidates there are of peers that are not the offerer.
    fn early(&self, db: &Connection) -> Result<u64> {
        let sql = "SELECT coalesce(sum(candidates), 0) FROM parts WHERE offer = ?1 AND peer <> ?2";
        Ok(db.prepare_cached(sql)?.query_row((self.seq, self.peer), |row| row.get(0))?)
    }
}

pub(super) fn add(db: &Connection, add: &AddCandidates) -> Result<Done<CandidatesAdded>> {
    let AddCandidates { realm: in_realm, id, by, bodies, most_early, most, now } = add;
    let not_found = Ok(Done::quietly(CandidatesAdded::NotFound));
    let Some(realm) = find_realm(db, in_realm)? else { return not_found };
    let Some(ends) = Ends::find(db, realm, id, *now)? else { return not_found };
    let known = ends.role(by);
    let role = match known {
        Some(role) => role,
        // Once there is an answer nothing of anybody else's is ever delivered.
        None => match most_early {
            Some(most) if ends.answerer.is_none() => {
                if ends.early(db)? + bodies.len() as u64 > u64::from(*most) {
                    return Ok(Done::quietly(CandidatesAdded::TooMany));
                }
                Role::Answerer
            }
            Some(_) | None => return Ok(Done::quietly(CandidatesAdded::NotAllowed)),
        },
    };
    let (there, count) = (ends.part_of(db, realm, by)?, bodies.len() as u64);
    if there.unwrap_or_default() + count > u64::from(*most) {
        return Ok(Done::quietly(CandidatesAdded::TooMany));
    }
    let from = peer(db, realm, by)?;
    if there.is_some() {
        let sql = "UPDATE parts SET candidates = candidates + ?3 WHERE offer = ?1 AND peer = ?2";
        db.prepare_cached(sql)?.execute((ends.seq, from, count))?;
    } else if count > 0 {
        db.prepare_cached("INSERT INTO parts (offer, peer, candidates) VALUES (?1, ?2, ?3)")?
            .execute((ends.seq, from, count))?;
        if known.is_none() {
            let sql = "UPDATE peers SET early = early + 1 WHERE id = ?1";
            db.prepare_cached(sql)?.execute([from])?;
        }
    }
    // Who answered an own offer has nobody on the other side.
    let answerer = ends.answerer.as_ref().filter(|(number, _)| *number != ends.peer);
    let recipient = answerer.map(|(number, name)| match role {
        Role::Offerer => (*number, name.clone()),
        Role::Answerer => (ends.peer, ends.offerer.clone()),
    });
    let first = match &recipient {
        Some((number, _)) => stamps(db, *number, bodies.len(), *now)?,
        None => *now,
    };
    let to = recipient.as_ref().map(|(number, _)| *number);
    for (body, position) in bodies.iter().zip(0..) {
        let stamp = if to.is_some() { first + position } else { *now };
        db.prepare_cached(
            "INSERT INTO candidates (offer, peer, offerer, recipient, stamp, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((ends.seq, from, role == Role::Offerer, to, stamp, body))?;
    }
    let to = recipient.map(|(_, name)| name);
    let told = to
        .as_deref()
        .map(|to| RendezvousNews::Delivered { realm: in_realm.clone(), to: to.into() });
    Ok(Done { answer: CandidatesAdded::Added { to }, effect: told.into_iter().collect() })
}

const CANDIDATE: &str = "SELECT p.name, c.offerer, c.body, c.stamp FROM candidates c
                         JOIN peers p ON p.id = c.peer ";

fn candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    let role = if row.get(1)? { Role::Offerer } else { Role::Answerer };
    Ok(Candidate { peer: row.get(0)?, role, body: row.get(2)?, stamp: row.get(3)? })
}

fn all(db: &Connection, rest: &str, keys: impl Params) -> Result<Vec<Candidate>> {
    let mut statement = db.prepare_cached(&format!("{CANDIDATE}{rest}"))?;
    Ok(statement.query_map(keys, candidate)?.collect::<Result<_, _>>()?)
}

pub(super) fn read(
    db: &Connection,
    realm: &Realm,
    id: &str,
    by: &str,
    since: Millis,
    now: Millis,
) -> Result<ReadCandidates> {
    let Some(realm) = find_realm(db, realm)? else { return Ok(ReadCandidates::NotFound) };
    let Some(ends) = Ends::find(db, realm, id, now)? else { return Ok(ReadCandidates::NotFound) };
    let Some(role) = ends.role(by) else { return Ok(ReadCandidates::NotAllowed) };
    let other = role.other() == Role::Offerer;
    let rest = "WHERE c.offer = ?1 AND c.offerer = ?2 AND c.stamp > ?3 AND c.recipient IS NOT NULL
                ORDER BY c.stamp";
    Ok(ReadCandidates::Read(all(db, rest, (ends.seq, other, since))?))
}

pub(super) fn read_all(
    db: &Connection,
    realm: &Realm,
    id: &str,
    by: &str,
    now: Millis,
) -> Result<Vec<Candidate>> {
    let Some(OfferRow { seq, realm, .. }) = find_live(db, realm, id, now)? else {
        return Ok(Vec::new());
    };
    let Some(by) = find_peer(db, realm, by)? else { return Ok(Vec::new()) };
    all(db, "WHERE c.offer = ?1 AND c.peer = ?2 ORDER BY c.seq", (seq, by))
}

pub(super) fn deliveries(
    db: &Connection,
    realm: &Realm,
    to: &str,
    since: Millis,
    limit: u32,
    now: Millis,
) -> Result<Vec<Delivery>> {
    let Some(realm) = find_realm(db, realm)? else { return Ok(Vec::new()) };
    let Some(to) = find_peer(db, realm, to)? else { return Ok(Vec::new()) };
    let answers = "SELECT o.answered_at, o.id, a.name, o.answer_sdp, o.matched_topics FROM offers o
                   JOIN peers a ON a.id = o.answerer
                   WHERE o.peer = ?1 AND o.answered_at > ?2 AND o.expires_at > ?3
                   ORDER BY o.answered_at LIMIT ?4";
    let mut found = Vec::new();
    let mut statement = db.prepare_cached(answers)?;
    let mut rows = statement.query((to, since, now, limit))?;
    while let Some(row) = rows.next()? {
        let (sdp, matched): (Box<str>, Option<String>) = (row.get(3)?, row.get(4)?);
        let matched_topics = matched.as_deref().map(from_body).transpose()?;
        let what = Delivered::Answer { by: row.get(2)?, sdp: sdp.into(), matched_topics };
        found.push(Delivery { stamp: row.get(0)?, offer: row.get(1)?, what });
    }
    let candidates = "SELECT p.name, c.offerer, c.body, c.stamp, o.id FROM candidates c
                      JOIN peers p ON p.id = c.peer JOIN offers o ON o.seq = c.offer
                      WHERE c.recipient = ?1 AND c.stamp > ?2 AND o.expires_at > ?3
                      ORDER BY c.stamp LIMIT ?4";
    let mut statement = db.prepare_cached(candidates)?;
    let mut rows = statement.query((to, since, now, limit))?;
    while let Some(row) = rows.next()? {
        let candidate = candidate(row)?;
        let (stamp, offer) = (candidate.stamp, row.get(4)?);
        found.push(Delivery { stamp, offer, what: Delivered::Candidate(candidate) });
    }
    found.sort_by_key(|it| it.stamp);
    found.truncate(limit as usize);
    Ok(found)
}
