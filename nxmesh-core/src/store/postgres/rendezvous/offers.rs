use sqlx::AssertSqlSafe;

use super::{
    PostgresRendezvous,
    keys::Keys,
    publish::only,
    rows::{OFFER, count, offer},
};
use crate::{
    Result,
    rendezvous::{Millis, Offer, OfferFilter, Realm},
};

impl PostgresRendezvous {
    pub(super) async fn find_offer(
        &self,
        realm: &Realm,
        id: &str,
        now: Millis,
    ) -> Result<Option<Offer>> {
        let sql =
            format!("SELECT {OFFER} FROM rendezvous_offers WHERE key = $1 AND expires_at > $2");
        let statement = sqlx::query(AssertSqlSafe(sql)).bind(Keys::of(realm).offer(id)).bind(now);
        self.database.optional(statement).await?.map(|row| offer(&row)).transpose()
    }

    pub(super) async fn all_offers_of(
        &self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Result<Vec<Offer>> {
        let (which, order) = match filter {
            OfferFilter::All => ("owner = $1", "last_seen DESC, seq DESC"),
            OfferFilter::Open => ("owner = $1 AND answered_at IS NULL", "last_seen DESC, seq DESC"),
            OfferFilter::Answered => {
                ("owner = $1 AND answered_at IS NOT NULL", "answered_at DESC, seq DESC")
            }
            OfferFilter::AnsweredByPeer => ("answerer = $1", "answered_at DESC, seq DESC"),
        };
        let sql = format!(
            "SELECT {OFFER} FROM rendezvous_offers
             WHERE {which} AND expires_at > $2 ORDER BY {order}"
        );
        let statement = sqlx::query(AssertSqlSafe(sql)).bind(Keys::of(realm).peer(peer)).bind(now);
        self.database.all(statement).await?.iter().map(offer).collect()
    }

    pub(super) async fn count_all(&self, realm: &Realm) -> Result<u64> {
        let statement = sqlx::query(
            "SELECT (coalesce((SELECT offers FROM rendezvous_realms WHERE realm = $1), 0)
                 + coalesce((SELECT sum(offers) FROM rendezvous_changes
                             WHERE realm = $1 AND topic IS NULL), 0))::bigint AS offers",
        );
        let rows = self.database.all(statement.bind(Keys::of(realm).realm())).await?;
        count(only(&rows)?, "offers")
    }
}
