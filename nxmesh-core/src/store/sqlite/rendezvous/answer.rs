use rusqlite::Connection;

use super::{
    listing::{Listed, unlist},
    open::Done,
    peers::{end_early, peer, stamps},
    read::{OfferRow, find, find_live},
};
use crate::{
    Result,
    rendezvous::{Answer, AnswerOutcome, Millis, Realm, RendezvousNews},
    store::codec::to_body,
};

pub(super) fn answer(db: &Connection, answer: &Answer) -> Result<Done<AnswerOutcome>> {
    let Answer { realm, id, by, sdp, matched_topics, expires_at, now } = answer;
    let Some(known) = find_live(db, realm, id, *now)? else {
        return Ok(Done::quietly(AnswerOutcome::NotFound));
    };
    if known.offer.answered.is_some() {
        return Ok(Done::quietly(AnswerOutcome::AlreadyAnswered));
    }
    if known.offer.locked_until > *now {
        return Ok(Done::quietly(AnswerOutcome::Locked));
    }
    let answerer = peer(db, known.realm, by)?;
    let answered_at = stamps(db, known.peer, 1, *now)?;
    let matched = matched_topics.as_ref().map(to_body).transpose()?;
    let sql =
        "UPDATE offers SET answerer = ?2, answered_at = ?3, answer_sdp = ?4, matched_topics = ?5,
                   expires_at = coalesce(?6, expires_at)
               WHERE seq = ?1";
    let values = (known.seq, answerer, answered_at, &**sdp, matched, expires_at);
    db.prepare_cached(sql)?.execute(values)?;
    // Whoever answered may read on from there.
    let sql = "UPDATE peers SET answers = answers + 1, stamp = max(stamp, ?2) WHERE id = ?1";
    db.prepare_cached(sql)?.execute((answerer, answered_at))?;
    let OfferRow { seq, realm: number, peer, answerer: _, offer } = &known;
    let listed = Listed { realm: *number, seq: *seq, peer: *peer, last_seen: offer.last_seen };
    unlist(db, listed, &offer.topics)?;
    // Who answers an own offer has nobody on the other side.
    let to_answerer = answerer != *peer && deliver(db, *seq, *peer, answerer, *now)?;
    if answerer != *peer {
        deliver(db, *seq, answerer, *peer, *now)?;
    }
    if end_early(db, *seq, *peer)? {
        for table in ["candidates", "parts"] {
            let sql = format!("DELETE FROM {table} WHERE offer = ?1 AND peer NOT IN (?2, ?3)");
            db.prepare_cached(&sql)?.execute((seq, peer, answerer))?;
        }
    }
    let told = |to: &str| RendezvousNews::Delivered { realm: realm.clone(), to: to.into() };
    let mut effect = vec![told(&offer.peer)];
    if to_answerer {
        effect.push(told(by));
    }
    let now_there = find(db, *number, id)?.map(|it| Box::new(it.offer));
    let outcome = now_there.map_or(AnswerOutcome::NotFound, AnswerOutcome::Answered);
    Ok(Done { answer: outcome, effect })
}

/// Delivers the candidates of one peer that came before the answer.
fn deliver(db: &Connection, offer: i64, of: i64, to: i64, now: Millis) -> Result<bool> {
    let sql = "SELECT seq FROM candidates WHERE offer = ?1 AND peer = ?2 AND recipient IS NULL
               ORDER BY seq";
    let waiting: Vec<i64> = db
        .prepare_cached(sql)?
        .query_map((offer, of), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let first = stamps(db, to, waiting.len(), now)?;
    for (stamp, seq) in (first..).zip(waiting) {
        db.prepare_cached("UPDATE candidates SET recipient = ?2, stamp = ?3 WHERE seq = ?1")?
            .execute((seq, to, stamp))?;
    }
    Ok(true)
}

pub(super) fn wrong_secret(
    db: &Connection,
    realm: &Realm,
    id: &str,
    most: u32,
    now: Millis,
    until: Millis,
) -> Result<()> {
    let Some(known) = find_live(db, realm, id, now)? else { return Ok(()) };
    let tried = known.offer.wrong_secrets.saturating_add(1);
    let (tried, locked) =
        if tried >= most { (0, until) } else { (tried, known.offer.locked_until) };
    db.prepare_cached("UPDATE offers SET wrong_secrets = ?2, locked_until = ?3 WHERE seq = ?1")?
        .execute((known.seq, tried, locked))?;
    Ok(())
}
