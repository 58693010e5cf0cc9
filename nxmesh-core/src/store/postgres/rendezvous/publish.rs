use std::collections::HashMap;

use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    PostgresRendezvous,
    keys::Keys,
    rows::unknown,
    text::{all_stored, stored},
};
use crate::{
    Result,
    rendezvous::{
        Heartbeat, Millis, NewOffer, Publish, PublishOutcome, Published, Realm, RendezvousNews,
    },
    store::codec::{corrupt, number},
};

/// Offers, column by column; each id once.
#[derive(Debug, Default)]
struct Columns {
    keys: Vec<Uuid>,
    ids: Vec<String>,
    sdps: Vec<String>,
    infos: Vec<Option<String>>,
    secrets: Vec<Option<Vec<u8>>>,
    expiries: Vec<i64>,
    /// The topics of all.
    topics: Vec<Uuid>,
    pairs: Vec<Uuid>,
    names: Vec<String>,
    /// Where those of each end.
    ends: Vec<i64>,
}

impl Columns {
    fn of(keys: &Keys, peer: &str, offers: &[&NewOffer]) -> Self {
        let mut columns = Self::default();
        for NewOffer { id, sdp, topics, info, secret, expires_at } in offers {
            columns.keys.push(keys.offer(id));
            columns.ids.push(stored(id).into_owned());
            columns.sdps.push(stored(sdp).into_owned());
            columns.infos.push(info.as_deref().map(|it| stored(it).into_owned()));
            columns.secrets.push(secret.as_ref().map(|it| it.as_bytes().to_vec()));
            columns.expiries.push(*expires_at);
            columns.topics.extend(keys.topics(topics));
            columns.pairs.extend(keys.pairs(topics, peer));
            columns.names.extend(all_stored(topics));
            columns.ends.push(columns.names.len() as i64);
        }
        columns
    }
}

/// Offers with each id once, and where each of those given stands among them. One that is given again
/// renews the one before it; the id of one that is another is answered.
fn once(offers: &[NewOffer]) -> Result<(Vec<&NewOffer>, Vec<usize>), &str> {
    let mut places = HashMap::new();
    let mut once: Vec<&NewOffer> = Vec::new();
    let mut given = Vec::new();
    for offer in offers {
        let place = *places.entry(&offer.id).or_insert(once.len());
        match once.get_mut(place) {
            None => once.push(offer),
            Some(before) if is_same(before, offer) => *before = offer,
            Some(_) => return Err(&offer.id),
        }
        given.push(place);
    }
    Ok((once, given))
}

/// Whether one is the other once more. Each topic is there once.
fn is_same(one: &NewOffer, other: &NewOffer) -> bool {
    let all_in = one.topics.iter().all(|it| other.topics.contains(it));
    one.sdp == other.sdp && one.topics.len() == other.topics.len() && all_in
}

impl PostgresRendezvous {
    pub(super) async fn publish_all(&self, publish: Publish) -> Result<PublishOutcome> {
        let Publish { realm, peer, offers, now, quota } = publish;
        let keys = Keys::of(&realm);
        let (once, given) = match once(&offers) {
            Ok(once) => once,
            Err(id) => return Ok(PublishOutcome::Taken(id.to_owned())),
        };
        let columns = Columns::of(&keys, &peer, &once);
        let (of_peer, of_all) =
            (i64::from(quota.of_peer), number(quota.of_all).unwrap_or(i64::MAX));
        let statement = || {
            sqlx::query(
                "SELECT * FROM rendezvous_publish(
                     $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
            )
            .bind(keys.realm())
            .bind(stored(keys.name()).into_owned())
            .bind(keys.peer(&peer))
            .bind(stored(&peer).into_owned())
            .bind(now)
            .bind(of_peer)
            .bind(of_all)
            .bind(columns.keys.clone())
            .bind(columns.ids.clone())
            .bind(columns.sdps.clone())
            .bind(columns.infos.clone())
            .bind(columns.secrets.clone())
            .bind(columns.expiries.clone())
            .bind(columns.topics.clone())
            .bind(columns.pairs.clone())
            .bind(columns.names.clone())
            .bind(columns.ends.clone())
        };
        let rows = self.change(statement).await?;
        let Some(first) = rows.first() else { return Ok(PublishOutcome::Published(Vec::new())) };
        match first.try_get("outcome")? {
            "published" => {}
            "taken" => {
                let number: i64 = first.try_get("number")?;
                let taken = usize::try_from(number - 1).ok().and_then(|it| once.get(it));
                let taken = taken.ok_or_else(|| unknown("an offer that was not asked for"))?;
                return Ok(PublishOutcome::Taken(taken.id.clone()));
            }
            "too_many_of_peer" => return Ok(PublishOutcome::TooManyOfPeer),
            "full" => return Ok(PublishOutcome::Full),
            other => return Err(unknown(other)),
        }
        self.tell_published(realm, &once, &rows)?;
        let published = rows.iter().map(|row| {
            let (created_at, expires_at) = (row.try_get("made")?, row.try_get("expires")?);
            Ok(Published { created_at, expires_at })
        });
        let published = published.collect::<Result<Vec<_>>>()?;
        let given = given.into_iter().filter_map(|it| published.get(it).copied());
        Ok(PublishOutcome::Published(given.collect()))
    }

    fn tell_published(&self, realm: Realm, offers: &[&NewOffer], rows: &[PgRow]) -> Result<()> {
        let mut new = Vec::new();
        for (offer, row) in offers.iter().zip(rows) {
            if row.try_get("is_new")? {
                new.push((offer.id.clone(), offer.topics.clone()));
            }
        }
        if !new.is_empty() {
            self.database.feed.count();
            self.database.feed.announce(RendezvousNews::Published { realm, offers: new.into() });
        }
        Ok(())
    }

    pub(super) async fn note_heartbeat(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Result<Heartbeat> {
        let keys = Keys::of(realm);
        let (offer, peer) = (keys.offer(id), keys.peer(by));
        let sql = "SELECT rendezvous_heartbeat($1, $2, $3)";
        let rows = self.change(|| sqlx::query(sql).bind(offer).bind(peer).bind(now)).await?;
        match only(&rows)?.try_get(0)? {
            "seen" => Ok(Heartbeat::Seen),
            "not_found" => Ok(Heartbeat::NotFound),
            "not_allowed" => Ok(Heartbeat::NotAllowed),
            other => Err(unknown(other)),
        }
    }

    pub(super) async fn delete(&self, realm: &Realm, id: &str, by: &str) -> Result<bool> {
        let keys = Keys::of(realm);
        let (offer, peer) = (keys.offer(id), keys.peer(by));
        let sql = "SELECT rendezvous_delete($1, $2)";
        let rows = self.change(|| sqlx::query(sql).bind(offer).bind(peer)).await?;
        self.database.feed.count();
        Ok(only(&rows)?.try_get(0)?)
    }

    pub(super) async fn put_under(
        &self,
        realm: &Realm,
        by: &str,
        topics: &[String],
        now: Millis,
    ) -> Result<u64> {
        let keys = Keys::of(realm);
        let (peer, names) = (keys.peer(by), all_stored(topics));
        let (topic_keys, pairs) = (keys.topics(topics), keys.pairs(topics, by));
        let sql = "SELECT rendezvous_retag($1, $2, $3, $4, $5)";
        let statement = || {
            let keyed = sqlx::query(sql).bind(peer).bind(topic_keys.clone()).bind(pairs.clone());
            keyed.bind(names.clone()).bind(now)
        };
        let rows = self.change(statement).await?;
        self.database.feed.count();
        u64::try_from(only(&rows)?.try_get::<i64, _>(0)?).map_err(corrupt)
    }
}

/// The row that a function always answers.
pub(super) fn only(rows: &[PgRow]) -> Result<&PgRow> {
    rows.first().ok_or_else(|| unknown("nothing"))
}
