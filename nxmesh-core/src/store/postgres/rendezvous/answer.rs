use sqlx::{AssertSqlSafe, Row};

use super::{
    PostgresRendezvous,
    keys::Keys,
    publish::only,
    rows::{OFFER, offer, unknown},
    text::{all_stored, stored},
};
use crate::{
    Result,
    rendezvous::{Answer, AnswerOutcome, Millis, Realm, RendezvousNews},
};

impl PostgresRendezvous {
    pub(super) async fn answer_one(&self, answer: Answer) -> Result<AnswerOutcome> {
        let Answer { realm, id, by, sdp, matched_topics, expires_at, now } = answer;
        let keys = Keys::of(&realm);
        let (key, answerer) = (keys.offer(&id), keys.peer(&by));
        let matched = matched_topics.as_deref().map(all_stored);
        let columns = OFFER.replace(", ", ", (offer).");
        let sql = format!(
            "SELECT outcome, to_answerer, (offer).{columns}
             FROM rendezvous_answer($1, $2, $3, $4, $5, $6, $7)"
        );
        let statement = || {
            sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(key)
                .bind(answerer)
                .bind(stored(&by).into_owned())
                .bind(stored(&sdp).into_owned())
                .bind(matched.clone())
                .bind(expires_at)
                .bind(now)
        };
        let rows = self.change(statement).await?;
        let row = only(&rows)?;
        match row.try_get("outcome")? {
            "answered" => {}
            "not_found" => return Ok(AnswerOutcome::NotFound),
            "already_answered" => return Ok(AnswerOutcome::AlreadyAnswered),
            "locked" => return Ok(AnswerOutcome::Locked),
            other => return Err(unknown(other)),
        }
        let offer = offer(row)?;
        self.database.feed.count();
        self.tell_delivered(&realm, &offer.peer);
        if row.try_get("to_answerer")? && by != offer.peer {
            self.tell_delivered(&realm, &by);
        }
        Ok(AnswerOutcome::Answered(Box::new(offer)))
    }

    pub(super) fn tell_delivered(&self, realm: &Realm, to: &str) {
        let news = RendezvousNews::Delivered { realm: realm.clone(), to: to.into() };
        self.database.feed.announce(news);
    }

    pub(super) async fn count_wrong_secret(
        &self,
        realm: &Realm,
        id: &str,
        most: u32,
        now: Millis,
        until: Millis,
    ) -> Result<()> {
        let key = Keys::of(realm).offer(id);
        let statement = || {
            sqlx::query(
                "UPDATE rendezvous_offers SET
                     wrong_secrets = CASE WHEN wrong_secrets + 1 < $2 THEN wrong_secrets + 1 ELSE 0 END,
                     locked_until = CASE WHEN wrong_secrets + 1 < $2 THEN locked_until ELSE $4 END
                 WHERE key = $1 AND expires_at > $3",
            )
            .bind(key)
            .bind(i64::from(most))
            .bind(now)
            .bind(until)
        };
        self.change(statement).await.map(drop)
    }
}
