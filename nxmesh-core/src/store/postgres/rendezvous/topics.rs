use sqlx::{AssertSqlSafe, Row};

use super::{
    PostgresRendezvous,
    keys::Keys,
    rows::{count, string},
    text::stored,
};
use crate::{
    Result,
    rendezvous::{Millis, Realm, TopicCount, TopicOrder, TopicPage, TopicQuery},
};

const TOUCHED: &str = include_str!("../sql/rendezvous/touched.sql");
const TOPICS: &str = include_str!("../sql/rendezvous/topics.sql");
const BY_PREFIX: &str = include_str!("../sql/rendezvous/topics_by_prefix.sql");

/// How many characters of a name are in an index.
const INDEXED: usize = 200;

impl PostgresRendezvous {
    pub(super) async fn page_of_topics(&self, query: TopicQuery) -> Result<TopicPage> {
        let TopicQuery { realm, prefix, order, offset, limit, now } = query;
        let order = match order {
            TopicOrder::MostPeers => "peers DESC,",
            TopicOrder::Name => "",
        };
        let rest = if prefix.is_empty() { TOPICS } else { BY_PREFIX };
        let sql = format!("{TOUCHED}{}", rest.replace("{order}", order));
        // Nobody reads on that far.
        let offset = i64::try_from(offset).unwrap_or(i64::MAX).min(i64::MAX / 2);
        // Planned each time: three indexes begin with the realm, and only one has the order.
        let mut statement = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(Keys::of(&realm).realm())
            .bind(now)
            .bind(i64::from(limit))
            .bind(offset);
        if !prefix.is_empty() {
            let prefix = stored(&prefix).to_ascii_lowercase();
            let head: String = prefix.chars().take(INDEXED).collect();
            let end = successor(&head);
            statement = statement.bind(prefix).bind(head).bind(end);
        }
        let rows = self.database.all(statement).await?;
        let mut page = TopicPage::default();
        for row in &rows {
            page.total = count(row, "total")?;
            let is_there: Option<i64> = row.try_get("offers")?;
            if is_there.is_some() {
                let topic = string(row, "name")?;
                let (offers, peers) = (count(row, "offers")?, count(row, "peers")?);
                page.topics.push(TopicCount { topic, offers, peers });
            }
        }
        Ok(page)
    }

    pub(super) async fn counts_of(
        &self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Result<Vec<TopicCount>> {
        let keys = Keys::of(realm);
        let sql = "SELECT offers, peers FROM rendezvous_counts($1, $2, $3, $4) ORDER BY number";
        let statement = sqlx::query(sql)
            .bind(keys.realm())
            .bind(keys.topics(topics))
            .bind(now)
            .bind(not_of.map(|it| keys.pairs(topics, it)));
        let rows = self.database.all(statement).await?;
        let counted = topics.iter().zip(&rows).map(|(topic, row)| {
            let (offers, peers) = (count(row, "offers")?, count(row, "peers")?);
            Ok(TopicCount { topic: topic.clone(), offers, peers })
        });
        counted.collect()
    }
}

/// The first text that is above all that begin with this one, by bytes. Where there is none: one
/// that is above all that are as long as what is in the index.
fn successor(prefix: &str) -> String {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = (u32::from(last) + 1..=0x10_FFFF).find_map(char::from_u32);
        if let Some(next) = next {
            chars.push(next);
            return chars.into_iter().collect();
        }
    }
    "\u{10FFFF}".repeat(INDEXED + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_the_first_text_that_begins_otherwise() {
        for (prefix, end) in
            [("a", "b"), ("a\u{10FFFF}", "b"), ("\u{D7FF}", "\u{E000}"), ("z\u{1}", "z\u{2}")]
        {
            assert_eq!(successor(prefix), end, "{prefix:?}");
        }
        assert!(successor("\u{10FFFF}") > "\u{10FFFF}".repeat(INDEXED));
    }
}
