use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::broadcast;

use super::{
    SqliteRendezvous, answer, candidates,
    open::Done,
    publish, read,
    sweep::{is_due, sweep, use_nonces},
};
use crate::{
    Result,
    rendezvous::{
        AddCandidates, Answer, AnswerOutcome, Candidate, CandidatesAdded, Delivery, Expired,
        Heartbeat, Millis, Nonce, Offer, OfferFilter, OfferPage, OfferQuery, Publish,
        PublishOutcome, ReadCandidates, Realm, RendezvousNews, RendezvousStore, TopicCount,
        TopicPage, TopicQuery,
    },
};

/// How many offers are swept together before something is counted.
const TOGETHER: u32 = 200;

impl SqliteRendezvous {
    /// Reads what is counted, once nothing is left that has expired: only then the counts are exact.
    async fn counted<T: Send + 'static>(
        &self,
        now: Millis,
        work: impl Fn(&Connection) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let work = Arc::new(work);
        loop {
            let work = Arc::clone(&work);
            let read = move |db: &Connection| {
                if is_due(db, now)? { Ok(None) } else { work(db).map(Some) }
            };
            if let Some(done) = self.database.read(read).await? {
                return Ok(done);
            }
            let _alone = self.sweeping.lock().await;
            // Somebody else may have swept it meanwhile.
            if self.database.read(move |db| is_due(db, now)).await? {
                self.database.write(move |db| sweep(db, now, TOGETHER)).await?;
            }
        }
    }
}

#[async_trait]
impl RendezvousStore for SqliteRendezvous {
    async fn publish(&self, publish: Publish) -> Result<PublishOutcome> {
        self.database.write(move |db| publish::publish(db, &publish)).await
    }

    async fn answer(&self, answer: Answer) -> Result<AnswerOutcome> {
        self.database.write(move |db| answer::answer(db, &answer)).await
    }

    async fn add_candidates(&self, candidates: AddCandidates) -> Result<CandidatesAdded> {
        self.database.write(move |db| candidates::add(db, &candidates)).await
    }

    async fn heartbeat(&self, realm: &Realm, id: &str, by: &str, now: Millis) -> Result<Heartbeat> {
        let (realm, id, by) = (realm.clone(), id.to_owned(), by.to_owned());
        let write =
            move |db: &Connection| publish::heartbeat(db, &realm, &id, &by, now).map(Done::quietly);
        self.database.write(write).await
    }

    async fn wrong_secret(
        &self,
        realm: &Realm,
        id: &str,
        most: u32,
        now: Millis,
        until: Millis,
    ) -> Result<()> {
        let (realm, id) = (realm.clone(), id.to_owned());
        let write = move |db: &Connection| {
            answer::wrong_secret(db, &realm, &id, most, now, until).map(Done::quietly)
        };
        self.database.write(write).await
    }

    async fn delete_offer(&self, realm: &Realm, id: &str, by: &str) -> Result<bool> {
        let (realm, id, by) = (realm.clone(), id.to_owned(), by.to_owned());
        let write = move |db: &Connection| publish::delete(db, &realm, &id, &by).map(Done::quietly);
        self.database.write(write).await
    }

    async fn retag(&self, realm: &Realm, by: &str, topics: &[String], now: Millis) -> Result<u64> {
        let (realm, by, topics) = (realm.clone(), by.to_owned(), topics.to_vec());
        let write =
            move |db: &Connection| publish::retag(db, &realm, &by, &topics, now).map(Done::quietly);
        self.database.write(write).await
    }

    async fn use_nonces(&self, nonces: &[Nonce], now: Millis) -> Result<Vec<bool>> {
        let nonces = nonces.to_vec();
        self.database.write(move |db| use_nonces(db, &nonces, now).map(Done::quietly)).await
    }

    async fn sweep(&self, now: Millis, most: u32) -> Result<Vec<Expired>> {
        let _alone = self.sweeping.lock().await;
        self.database.write(move |db| sweep(db, now, most)).await
    }

    async fn offer(&self, realm: &Realm, id: &str, now: Millis) -> Result<Option<Offer>> {
        let (realm, id) = (realm.clone(), id.to_owned());
        let read =
            move |db: &Connection| Ok(read::find_live(db, &realm, &id, now)?.map(|it| it.offer));
        self.database.read(read).await
    }

    async fn offers_of(
        &self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Result<Vec<Offer>> {
        let (realm, peer) = (realm.clone(), peer.to_owned());
        self.database.read(move |db| read::offers_of(db, &realm, &peer, filter, now)).await
    }

    async fn offers_by_topic(&self, query: OfferQuery) -> Result<OfferPage> {
        self.counted(query.now, move |db| read::offers_by_topic(db, &query)).await
    }

    async fn topics(&self, query: TopicQuery) -> Result<TopicPage> {
        self.counted(query.now, move |db| read::topics(db, &query)).await
    }

    async fn topic_counts(
        &self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Result<Vec<TopicCount>> {
        let (realm, topics) = (realm.clone(), topics.to_vec());
        let not_of = not_of.map(str::to_owned);
        let read =
            move |db: &Connection| read::topic_counts(db, &realm, &topics, not_of.as_deref());
        self.counted(now, read).await
    }

    async fn candidates(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        since: Millis,
        now: Millis,
    ) -> Result<ReadCandidates> {
        let (realm, id, by) = (realm.clone(), id.to_owned(), by.to_owned());
        self.database.read(move |db| candidates::read(db, &realm, &id, &by, since, now)).await
    }

    async fn candidates_of(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Result<Vec<Candidate>> {
        let (realm, id, by) = (realm.clone(), id.to_owned(), by.to_owned());
        self.database.read(move |db| candidates::read_all(db, &realm, &id, &by, now)).await
    }

    async fn deliveries(
        &self,
        realm: &Realm,
        to: &str,
        since: Millis,
        limit: u32,
        now: Millis,
    ) -> Result<Vec<Delivery>> {
        let (realm, to) = (realm.clone(), to.to_owned());
        let read =
            move |db: &Connection| candidates::deliveries(db, &realm, &to, since, limit, now);
        self.database.read(read).await
    }

    fn news(&self) -> broadcast::Receiver<RendezvousNews> {
        self.news.0.subscribe()
    }

    async fn count(&self, realm: &Realm) -> Result<u64> {
        let realm = realm.clone();
        self.database.read(move |db| read::count(db, &realm)).await
    }
}
