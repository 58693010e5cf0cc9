//! Open offers by topic.

use sqlx::{AssertSqlSafe, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    PostgresRendezvous,
    keys::Keys,
    rows::{count, offer, string},
};
use crate::{
    Result,
    rendezvous::{OfferPage, OfferQuery, PeerFilter},
};

const LISTED: &str = include_str!("../sql/rendezvous/listed.sql");
const PAGE: &str = include_str!("../sql/rendezvous/page.sql");
const PICKED: &str = include_str!("../sql/rendezvous/picked.sql");

/// How many offers are asked for together whose peers are looked for in a filter.
const CHUNK: u32 = 500;
/// Above all offers that are listed.
const TOP: (i64, i64) = (i64::MAX, i64::MAX);

impl PostgresRendezvous {
    pub(super) async fn page_of_offers(&self, query: OfferQuery) -> Result<OfferPage> {
        let OfferQuery { realm, topics, not_of, excluded, offset, limit, now } = query;
        let keys = Keys::of(&realm);
        let topics = keys.topics(&topics);
        let Some(first) = topics.first().copied() else { return Ok(OfferPage::default()) };
        let not_of = not_of.map(|it| keys.peer(&it));
        let rows = if let Some(excluded) = excluded {
            let listed = Listed { topics, not_of, now };
            let picked = self.pick(&listed, &excluded, offset, limit).await?;
            let statement = sqlx::query(PICKED).bind(picked).bind(now);
            self.database.all(statement.bind(first).bind(keys.realm())).await?
        } else {
            let statement = sqlx::query(AssertSqlSafe(PAGE.replace("{listed}", LISTED)))
                .bind(topics)
                .bind(now)
                .bind(not_of)
                .bind(TOP.0)
                .bind(TOP.1)
                .bind(i64::from(offset) + i64::from(limit))
                .bind(i64::from(offset))
                .bind(keys.realm());
            self.database.all(statement).await?
        };
        page(&rows)
    }

    /// The numbers of the offers of a page, without those of peers in a filter: what it costs grows with how
    /// many the filter leaves out.
    async fn pick(
        &self,
        Listed { topics, not_of, now }: &Listed,
        excluded: &PeerFilter,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<i64>> {
        let mut picked = Vec::new();
        let mut left_out = 0;
        let mut below = TOP;
        while picked.len() < limit as usize {
            let statement = sqlx::query(LISTED)
                .bind(topics.clone())
                .bind(now)
                .bind(not_of)
                .bind(below.0)
                .bind(below.1)
                .bind(i64::from(CHUNK));
            let rows = self.database.all(statement).await?;
            for row in &rows {
                below = (row.try_get("last_seen")?, row.try_get("seq")?);
                if excluded.contains(&string(row, "peer")?) {
                    continue;
                }
                if left_out < offset {
                    left_out += 1;
                } else if picked.len() < limit as usize {
                    picked.push(below.1);
                }
            }
            if rows.len() < CHUNK as usize {
                break;
            }
        }
        Ok(picked)
    }
}

/// Which offers.
struct Listed {
    topics: Vec<Uuid>,
    not_of: Option<Uuid>,
    now: i64,
}

fn page(rows: &[PgRow]) -> Result<OfferPage> {
    let mut page = OfferPage::default();
    for row in rows {
        page.total = count(row, "total")?;
        let is_there: Option<i64> = row.try_get("seq")?;
        if is_there.is_some() {
            page.offers.push(offer(row)?);
        }
    }
    Ok(page)
}
