//! Rows, and what they say.

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::{
    Result,
    rendezvous::{
        Answered, Millis, Offer, OfferFilter, OfferPage, OfferQuery, Realm, TopicCount, TopicOrder,
        TopicPage, TopicQuery,
    },
    store::codec::{corrupt, from_body},
    tenancy::Sealed,
};

use super::peers::{find_peer, find_realm};

/// What [`offer`] reads, in its order.
pub(super) const OFFER: &str = "SELECT o.seq, o.realm, o.peer, o.id, p.name, o.sdp, o.topics, o.info, \
     o.secret, o.created_at, o.last_seen, o.expires_at, a.name, o.answer_sdp, o.answered_at, \
     o.matched_topics, o.wrong_secrets, o.locked_until, o.answerer \
     FROM offers o JOIN peers p ON p.id = o.peer LEFT JOIN peers a ON a.id = o.answerer ";

/// An offer with its numbers.
#[derive(Debug)]
pub(super) struct OfferRow {
    pub(super) seq: i64,
    pub(super) realm: i64,
    pub(super) peer: i64,
    pub(super) answerer: Option<i64>,
    pub(super) offer: Offer,
}

pub(super) fn offer(row: &Row<'_>) -> Result<OfferRow> {
    let answerer: Option<String> = row.get(12)?;
    let answered = answerer
        .map(|by| {
            let matched: Option<String> = row.get(15)?;
            let matched_topics = matched.as_deref().map(from_body).transpose()?;
            let sdp: Box<str> = row.get(13)?;
            Ok::<_, crate::Error>(Answered {
                by,
                sdp: sdp.into(),
                at: row.get(14)?,
                matched_topics,
            })
        })
        .transpose()?;
    let secret: Option<Vec<u8>> = row.get(8)?;
    let sdp: Box<str> = row.get(5)?;
    Ok(OfferRow {
        seq: row.get(0)?,
        realm: row.get(1)?,
        peer: row.get(2)?,
        answerer: row.get(18)?,
        offer: Offer {
            id: row.get(3)?,
            peer: row.get(4)?,
            sdp: sdp.into(),
            topics: from_body(row.get_ref(6)?.as_str().map_err(corrupt)?)?,
            info: row.get(7)?,
            secret: secret.map(Sealed::from_bytes),
            created_at: row.get(9)?,
            last_seen: row.get(10)?,
            expires_at: row.get(11)?,
            answered,
            wrong_secrets: row.get(16)?,
            locked_until: row.get(17)?,
        },
    })
}

pub(super) fn offers(db: &Connection, rest: &str, keys: impl Params) -> Result<Vec<OfferRow>> {
    let mut statement = db.prepare_cached(&format!("{OFFER}{rest}"))?;
    let mut rows = statement.query(keys)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(offer(row)?);
    }
    Ok(found)
}

/// An offer by its id, live or not.
pub(super) fn find(db: &Connection, realm: i64, id: &str) -> Result<Option<OfferRow>> {
    Ok(offers(db, "WHERE o.realm = ?1 AND o.id = ?2", (realm, id))?.pop())
}

/// A live offer by its id.
pub(super) fn find_live(
    db: &Connection,
    realm: &Realm,
    id: &str,
    now: Millis,
) -> Result<Option<OfferRow>> {
    let Some(realm) = find_realm(db, realm)? else { return Ok(None) };
    Ok(find(db, realm, id)?.filter(|it| it.offer.expires_at > now))
}

pub(super) fn offers_of(
    db: &Connection,
    realm: &Realm,
    peer: &str,
    filter: OfferFilter,
    now: Millis,
) -> Result<Vec<Offer>> {
    let Some(realm) = find_realm(db, realm)? else { return Ok(Vec::new()) };
    let Some(peer) = find_peer(db, realm, peer)? else { return Ok(Vec::new()) };
    let rest = match filter {
        OfferFilter::All => {
            "WHERE o.peer = ?1 AND o.expires_at > ?2 ORDER BY o.last_seen DESC, o.seq DESC"
        }
        OfferFilter::Open => {
            "WHERE o.peer = ?1 AND o.expires_at > ?2 AND o.answered_at IS NULL
             ORDER BY o.last_seen DESC, o.seq DESC"
        }
        OfferFilter::Answered => {
            "WHERE o.peer = ?1 AND o.expires_at > ?2 AND o.answered_at IS NOT NULL
             ORDER BY o.answered_at DESC"
        }
        OfferFilter::AnsweredByPeer => {
            "WHERE o.answerer = ?1 AND o.expires_at > ?2 ORDER BY o.answered_at DESC, o.seq DESC"
        }
    };
    Ok(offers(db, rest, (peer, now))?.into_iter().map(|it| it.offer).collect())
}

pub(super) fn offers_by_topic(db: &Connection, query: &OfferQuery) -> Result<OfferPage> {
    let Some(realm) = find_realm(db, &query.realm)? else { return Ok(OfferPage::default()) };
    let mut topics = Vec::new();
    let mut total = 0;
    for (position, name) in query.topics.iter().enumerate() {
        let sql = "SELECT id, offers FROM topics WHERE realm = ?1 AND name = ?2";
        let found: Option<(i64, u64)> = db
            .prepare_cached(sql)?
            .query_row((realm, name), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, offers)) = found else { continue };
        topics.push(id);
        if position == 0 {
            total = offers;
        }
    }
    let not_of = query.not_of.as_deref().map(|it| find_peer(db, realm, it)).transpose()?.flatten();
    let wanted = query.offset as usize + query.limit as usize;
    let mut page = Vec::new();
    if query.limit > 0 {
        for topic in &topics {
            scan(db, *topic, not_of, query, wanted, &mut page)?;
        }
    }
    if topics.len() > 1 {
        page.sort_unstable_by(|one, other| other.cmp(one));
        page.dedup();
    }
    let page = page.into_iter().skip(query.offset as usize).take(query.limit as usize);
    let offers = page
        .filter_map(|(_, seq)| {
            offers(db, "WHERE o.seq = ?1", [seq]).map(|mut it| it.pop()).transpose()
        })
        .map(|it| it.map(|it| it.offer))
        .collect::<Result<_>>()?;
    Ok(OfferPage { offers, total })
}

/// The first offers of a topic that are wanted, as `(last_seen, seq)`.
fn scan(
    db: &Connection,
    topic: i64,
    not_of: Option<i64>,
    query: &OfferQuery,
    wanted: usize,
    page: &mut Vec<(i64, i64)>,
) -> Result<()> {
    // The order is that of the key: the scan ends with the page.
    let plain = "SELECT last_seen, seq, peer FROM open_offers WHERE topic = ?1
                 ORDER BY last_seen DESC, seq DESC";
    let named = "SELECT o.last_seen, o.seq, o.peer, p.name FROM open_offers o
                 JOIN peers p ON p.id = o.peer WHERE o.topic = ?1
                 ORDER BY o.last_seen DESC, o.seq DESC";
    let mut statement = db.prepare_cached(if query.excluded.is_some() { named } else { plain })?;
    let mut rows = statement.query([topic])?;
    let before = page.len();
    while page.len() - before < wanted {
        let Some(row) = rows.next()? else { break };
        let excluded = match &query.excluded {
            Some(filter) => filter.contains(row.get_ref(3)?.as_str().map_err(corrupt)?),
            None => false,
        };
        if excluded || not_of == Some(row.get(2)?) {
            continue;
        }
        page.push((row.get(0)?, row.get(1)?));
    }
    Ok(())
}

pub(super) fn topics(db: &Connection, query: &TopicQuery) -> Result<TopicPage> {
    let TopicQuery { realm, prefix, order, offset, limit, now: _ } = query;
    let Some(realm) = find_realm(db, realm)? else { return Ok(TopicPage::default()) };
    let offset = i64::try_from(*offset).unwrap_or(i64::MAX);
    let order = match order {
        TopicOrder::MostPeers => "peers DESC, name",
        TopicOrder::Name => "name",
    };
    if prefix.is_empty() {
        let sql = format!(
            "SELECT name, offers, peers FROM topics WHERE realm = ?1 ORDER BY {order} LIMIT ?2 OFFSET ?3"
        );
        let topics = counts(db, &sql, (realm, limit, offset))?;
        let total = db
            .prepare_cached("SELECT topics FROM realms WHERE id = ?1")?
            .query_row([realm], |row| row.get(0))?;
        return Ok(TopicPage { topics, total });
    }
    let folded = prefix.to_ascii_lowercase();
    // The first text after all that begin so; where there is none, none is too large.
    let end = successor(&folded);
    let range = match end {
        Some(_) => "realm = ?1 AND folded >= ?2 AND folded < ?3",
        None => "realm = ?1 AND folded >= ?2 AND ?3 IS NULL",
    };
    let sql = format!("SELECT count(*) FROM topics WHERE {range}");
    let total = db.prepare_cached(&sql)?.query_row((realm, &folded, &end), |row| row.get(0))?;
    let sql = format!(
        "SELECT name, offers, peers FROM topics WHERE {range} ORDER BY {order} LIMIT ?4 OFFSET ?5"
    );
    let topics = counts(db, &sql, (realm, &folded, &end, limit, offset))?;
    Ok(TopicPage { topics, total })
}

/// The first text that is above all that begin with `prefix`, in the order of UTF-8, which is that of
/// code points.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // Between U+D7FF and U+E000 there is no character.
        let next =
            if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn counts(db: &Connection, sql: &str, keys: impl Params) -> Result<Vec<TopicCount>> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(keys, |row| {
        Ok(TopicCount { topic: row.get(0)?, offers: row.get(1)?, peers: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn topic_counts(
    db: &Connection,
    realm: &Realm,
    topics: &[String],
    not_of: Option<&str>,
) -> Result<Vec<TopicCount>> {
    let realm = find_realm(db, realm)?;
    let not_of = match (realm, not_of) {
        (Some(realm), Some(name)) => find_peer(db, realm, name)?,
        _ => None,
    };
    let mut found = Vec::new();
    for topic in topics {
        let sql = "SELECT t.offers - coalesce(p.offers, 0), t.peers - (p.offers IS NOT NULL)
                   FROM topics t LEFT JOIN topic_peers p ON p.topic = t.id AND p.peer = ?3
                   WHERE t.realm = ?1 AND t.name = ?2";
        let counted = db
            .prepare_cached(sql)?
            .query_row((realm, topic, not_of), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (offers, peers) = counted.unwrap_or_default();
        found.push(TopicCount { topic: topic.clone(), offers, peers });
    }
    Ok(found)
}

pub(super) fn count(db: &Connection, realm: &Realm) -> Result<u64> {
    let mut statement = db.prepare_cached("SELECT offers FROM realms WHERE name = ?1")?;
    let found = statement.query_row([realm.to_text()], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn a_range_ends_before_the_first_text_that_begins_otherwise() {
        for (prefix, end) in [
            ("a", Some("b")),
            ("a\u{10FFFF}", Some("b")),
            ("\u{D7FF}", Some("\u{E000}")),
            ("\u{10FFFF}", None),
        ] {
            assert_eq!(successor(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
