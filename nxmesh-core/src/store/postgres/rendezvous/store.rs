use async_trait::async_trait;
use tokio::sync::broadcast;

use super::PostgresRendezvous;
use crate::{
    Result,
    rendezvous::{
        AddCandidates, Answer, AnswerOutcome, Candidate, CandidatesAdded, Delivery, Expired,
        Heartbeat, Millis, Nonce, Offer, OfferFilter, OfferPage, OfferQuery, Publish,
        PublishOutcome, ReadCandidates, Realm, RendezvousNews, RendezvousStore, TopicCount,
        TopicPage, TopicQuery,
    },
};

#[async_trait]
impl RendezvousStore for PostgresRendezvous {
    async fn publish(&self, publish: Publish) -> Result<PublishOutcome> {
        self.publish_all(publish).await
    }

    async fn answer(&self, answer: Answer) -> Result<AnswerOutcome> {
        self.answer_one(answer).await
    }

    async fn add_candidates(&self, candidates: AddCandidates) -> Result<CandidatesAdded> {
        self.add_all(candidates).await
    }

    async fn heartbeat(&self, realm: &Realm, id: &str, by: &str, now: Millis) -> Result<Heartbeat> {
        self.note_heartbeat(realm, id, by, now).await
    }

    async fn wrong_secret(
        &self,
        realm: &Realm,
        id: &str,
        most: u32,
        now: Millis,
        until: Millis,
    ) -> Result<()> {
        self.count_wrong_secret(realm, id, most, now, until).await
    }

    async fn delete_offer(&self, realm: &Realm, id: &str, by: &str) -> Result<bool> {
        self.delete(realm, id, by).await
    }

    async fn retag(&self, realm: &Realm, by: &str, topics: &[String], now: Millis) -> Result<u64> {
        self.put_under(realm, by, topics, now).await
    }

    async fn use_nonces(&self, nonces: &[Nonce], now: Millis) -> Result<Vec<bool>> {
        self.note_nonces(nonces, now).await
    }

    async fn sweep(&self, now: Millis, most: u32) -> Result<Vec<Expired>> {
        self.sweep_some(now, most).await
    }

    async fn offer(&self, realm: &Realm, id: &str, now: Millis) -> Result<Option<Offer>> {
        self.find_offer(realm, id, now).await
    }

    async fn offers_of(
        &self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Result<Vec<Offer>> {
        self.all_offers_of(realm, peer, filter, now).await
    }

    async fn offers_by_topic(&self, query: OfferQuery) -> Result<OfferPage> {
        self.page_of_offers(query).await
    }

    async fn topics(&self, query: TopicQuery) -> Result<TopicPage> {
        self.page_of_topics(query).await
    }

    async fn topic_counts(
        &self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Result<Vec<TopicCount>> {
        self.counts_of(realm, topics, not_of, now).await
    }

    async fn candidates(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        since: Millis,
        now: Millis,
    ) -> Result<ReadCandidates> {
        self.read_candidates(realm, id, by, since, now).await
    }

    async fn candidates_of(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Result<Vec<Candidate>> {
        self.all_candidates_of(realm, id, by, now).await
    }

    async fn deliveries(
        &self,
        realm: &Realm,
        to: &str,
        since: Millis,
        limit: u32,
        now: Millis,
    ) -> Result<Vec<Delivery>> {
        self.read_deliveries(realm, to, since, limit, now).await
    }

    fn news(&self) -> broadcast::Receiver<RendezvousNews> {
        self.database.feed.subscribe()
    }

    async fn count(&self, realm: &Realm) -> Result<u64> {
        self.count_all(realm).await
    }
}
