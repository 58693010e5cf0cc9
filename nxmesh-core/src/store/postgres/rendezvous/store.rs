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
        self.run(|it| async move { it.publish_all(publish).await }).await
    }

    async fn answer(&self, answer: Answer) -> Result<AnswerOutcome> {
        self.run(|it| async move { it.answer_one(answer).await }).await
    }

    async fn add_candidates(&self, candidates: AddCandidates) -> Result<CandidatesAdded> {
        self.run(|it| async move { it.add_all(candidates).await }).await
    }

    async fn heartbeat(&self, realm: &Realm, id: &str, by: &str, now: Millis) -> Result<Heartbeat> {
        let (realm, id, by) = (realm.clone(), id.to_owned(), by.to_owned());
        self.run(|it| async move { it.note_heartbeat(&realm, &id, &by, now).await }).await
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
        self.run(|it| async move { it.count_wrong_secret(&realm, &id, most, now, until).await })
            .await
    }

    async fn delete_offer(&self, realm: &Realm, id: &str, by: &str) -> Result<bool> {
        let (realm, id, by) = (realm.clone(), id.to_owned(), by.to_owned());
        self.run(|it| async move { it.delete(&realm, &id, &by).await }).await
    }

    async fn retag(&self, realm: &Realm, by: &str, topics: &[String], now: Millis) -> Result<u64> {
        let (realm, by, topics) = (realm.clone(), by.to_owned(), topics.to_vec());
        self.run(|it| async move { it.put_under(&realm, &by, &topics, now).await }).await
    }

    async fn use_nonces(&self, nonces: &[Nonce], now: Millis) -> Result<Vec<bool>> {
        let nonces = nonces.to_vec();
        self.run(|it| async move { it.note_nonces(&nonces, now).await }).await
    }

    async fn sweep(&self, now: Millis, most: u32) -> Result<Vec<Expired>> {
        self.run(|it| async move { it.sweep_some(now, most).await }).await
    }

    async fn offer(&self, realm: &Realm, id: &str, now: Millis) -> Result<Option<Offer>> {
        let (realm, id) = (realm.clone(), id.to_owned());
        self.run(|it| async move { it.find_offer(&realm, &id, now).await }).await
    }

    async fn offers_of(
        &self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Result<Vec<Offer>> {
        let (realm, peer) = (realm.clone(), peer.to_owned());
        self.run(|it| async move { it.all_offers_of(&realm, &peer, filter, now).await }).await
    }

    async fn offers_by_topic(&self, query: OfferQuery) -> Result<OfferPage> {
        self.run(|it| async move { it.page_of_offers(query).await }).await
    }

    async fn topics(&self, query: TopicQuery) -> Result<TopicPage> {
        self.run(|it| async move { it.page_of_topics(query).await }).await
    }

    async fn topic_counts(
        &self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Result<Vec<TopicCount>> {
        let (realm, topics, not_of) = (realm.clone(), topics.to_vec(), not_of.map(str::to_owned));
        self.run(|it| async move { it.counts_of(&realm, &topics, not_of.as_deref(), now).await })
            .await
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
        self.run(|it| async move { it.read_candidates(&realm, &id, &by, since, now).await }).await
    }

    async fn candidates_of(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Result<Vec<Candidate>> {
        let (realm, id, by) = (realm.clone(), id.to_owned(), by.to_owned());
        self.run(|it| async move { it.all_candidates_of(&realm, &id, &by, now).await }).await
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
        self.run(|it| async move { it.read_deliveries(&realm, &to, since, limit, now).await }).await
    }

    fn news(&self) -> broadcast::Receiver<RendezvousNews> {
        self.database.feed.subscribe()
    }

    async fn count(&self, realm: &Realm) -> Result<u64> {
        let realm = realm.clone();
        self.run(|it| async move { it.count_all(&realm).await }).await
    }
}
