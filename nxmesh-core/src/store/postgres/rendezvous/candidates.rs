use sqlx::{Row, postgres::PgRow};

use super::{
    PostgresRendezvous,
    keys::Keys,
    publish::only,
    rows::{candidate, string, strings, unknown},
    text::{all_stored, stored},
};
use crate::{
    Result,
    rendezvous::{
        AddCandidates, Candidate, CandidatesAdded, Delivered, Delivery, Millis, ReadCandidates,
        Realm,
    },
};

impl PostgresRendezvous {
    pub(super) async fn add_all(&self, add: AddCandidates) -> Result<CandidatesAdded> {
        let AddCandidates { realm, id, by, bodies, most_early, most, now } = add;
        let keys = Keys::of(&realm);
        let (key, author, stored_bodies) = (keys.offer(&id), keys.peer(&by), all_stored(&bodies));
        let statement = || {
            sqlx::query("SELECT * FROM rendezvous_add_candidates($1, $2, $3, $4, $5, $6, $7)")
                .bind(key)
                .bind(author)
                .bind(stored(&by).into_owned())
                .bind(stored_bodies.clone())
                .bind(most_early.map(i64::from))
                .bind(i64::from(most))
                .bind(now)
        };
        let rows = self.change(statement).await?;
        let row = only(&rows)?;
        match row.try_get("outcome")? {
            "added" => {}
            "not_found" => return Ok(CandidatesAdded::NotFound),
            "not_allowed" => return Ok(CandidatesAdded::NotAllowed),
            "too_many" => return Ok(CandidatesAdded::TooMany),
            other => return Err(unknown(other)),
        }
        let to: Option<&str> = row.try_get("delivered_to")?;
        let to = to.map(super::text::read);
        if let Some(to) = &to
            && !bodies.is_empty()
        {
            self.tell_delivered(&realm, to);
        }
        Ok(CandidatesAdded::Added { to })
    }

    pub(super) async fn read_candidates(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        since: Millis,
        now: Millis,
    ) -> Result<ReadCandidates> {
        let keys = Keys::of(realm);
        let statement = sqlx::query(include_str!("../sql/rendezvous/candidates.sql"))
            .bind(keys.offer(id))
            .bind(keys.peer(by))
            .bind(since)
            .bind(now);
        let rows = self.database.all(statement).await?;
        let Some(first) = rows.first() else { return Ok(ReadCandidates::NotFound) };
        if !first.try_get("has_part")? {
            return Ok(ReadCandidates::NotAllowed);
        }
        let mut found = Vec::new();
        for row in &rows {
            let is_there: Option<i64> = row.try_get("stamp")?;
            if is_there.is_some() {
                found.push(candidate(row)?);
            }
        }
        Ok(ReadCandidates::Read(found))
    }

    pub(super) async fn all_candidates_of(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Result<Vec<Candidate>> {
        let keys = Keys::of(realm);
        let statement = sqlx::query(
            "SELECT c.peer, c.offerer, c.body, c.stamp
             FROM rendezvous_offers o JOIN rendezvous_candidates c
                 ON c.offer = o.seq AND c.author = $2
             WHERE o.key = $1 AND o.expires_at > $3 ORDER BY c.seq",
        );
        let statement = statement.bind(keys.offer(id)).bind(keys.peer(by)).bind(now);
        self.database.all(statement).await?.iter().map(candidate).collect()
    }

    pub(super) async fn read_deliveries(
        &self,
        realm: &Realm,
        to: &str,
        since: Millis,
        limit: u32,
        now: Millis,
    ) -> Result<Vec<Delivery>> {
        let statement = sqlx::query(include_str!("../sql/rendezvous/deliveries.sql"))
            .bind(Keys::of(realm).peer(to))
            .bind(since)
            .bind(i64::from(limit))
            .bind(now);
        self.database.all(statement).await?.iter().map(delivery).collect()
    }
}

fn delivery(row: &PgRow) -> Result<Delivery> {
    let is_candidate: Option<bool> = row.try_get("offerer")?;
    let what = if is_candidate.is_some() {
        Delivered::Candidate(candidate(row)?)
    } else {
        Delivered::Answer {
            by: string(row, "peer")?,
            sdp: string(row, "body")?.into(),
            matched_topics: strings(row, "matched_topics")?,
        }
    };
    Ok(Delivery { stamp: row.try_get("stamp")?, offer: string(row, "id")?, what })
}
