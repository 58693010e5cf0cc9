use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::MemoryRendezvous;
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
impl RendezvousStore for MemoryRendezvous {
    async fn publish(&self, publish: Publish) -> Result<PublishOutcome> {
        let (outcome, new) = self.lock().publish(&publish);
        if !new.is_empty() {
            self.tell(RendezvousNews::Published { realm: publish.realm, offers: new.into() });
        }
        Ok(outcome)
    }

    async fn answer(&self, answer: Answer) -> Result<AnswerOutcome> {
        let realm = answer.realm.clone();
        let (outcome, told) = self.lock().answer(answer);
        for to in told {
            self.tell(RendezvousNews::Delivered { realm: realm.clone(), to });
        }
        Ok(outcome)
    }

    async fn add_candidates(&self, candidates: AddCandidates) -> Result<CandidatesAdded> {
        let (realm, any) = (candidates.realm.clone(), !candidates.bodies.is_empty());
        let added = self.lock().add_candidates(candidates);
        if let (CandidatesAdded::Added { to: Some(to) }, true) = (&added, any) {
            self.tell(RendezvousNews::Delivered { realm, to: Arc::from(to.as_str()) });
        }
        Ok(added)
    }

    async fn heartbeat(&self, realm: &Realm, id: &str, by: &str, now: Millis) -> Result<Heartbeat> {
        Ok(self.lock().heartbeat(realm, id, by, now))
    }

    async fn wrong_secret(
        &self,
        realm: &Realm,
        id: &str,
        most: u32,
        now: Millis,
        until: Millis,
    ) -> Result<()> {
        self.lock().wrong_secret(realm, id, most, now, until);
        Ok(())
    }

    async fn delete_offer(&self, realm: &Realm, id: &str, by: &str) -> Result<bool> {
        Ok(self.lock().delete_offer(realm, id, by))
    }

    async fn retag(&self, realm: &Realm, by: &str, topics: &[String], now: Millis) -> Result<u64> {
        Ok(self.lock().retag(realm, by, topics, now))
    }

    async fn use_nonces(&self, nonces: &[Nonce], now: Millis) -> Result<Vec<bool>> {
        let mut state = self.lock();
        Ok(nonces.iter().map(|it| state.nonces.take(it, now)).collect())
    }

    async fn sweep(&self, now: Millis, most: u32) -> Result<Vec<Expired>> {
        let expired = self.lock().sweep(now, most);
        if !expired.is_empty() {
            self.tell(RendezvousNews::Expired(expired.clone().into()));
        }
        Ok(expired)
    }

    async fn offer(&self, realm: &Realm, id: &str, now: Millis) -> Result<Option<Offer>> {
        Ok(self.lock().offer(realm, id, now))
    }

    async fn offers_of(
        &self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Result<Vec<Offer>> {
        Ok(self.lock().offers_of(realm, peer, filter, now))
    }

    async fn offers_by_topic(&self, query: OfferQuery) -> Result<OfferPage> {
        Ok(self.lock().offers_by_topic(&query))
    }

    async fn topics(&self, query: TopicQuery) -> Result<TopicPage> {
        Ok(self.lock().topics(&query))
    }

    async fn topic_counts(
        &self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Result<Vec<TopicCount>> {
        Ok(self.lock().topic_counts(realm, topics, not_of, now))
    }

    async fn candidates(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        since: Millis,
        now: Millis,
    ) -> Result<ReadCandidates> {
        Ok(self.lock().candidates(realm, id, by, since, now))
    }

    async fn candidates_of(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Result<Vec<Candidate>> {
        Ok(self.lock().candidates_of(realm, id, by, now))
    }

    async fn deliveries(
        &self,
        realm: &Realm,
        to: &str,
        since: Millis,
        limit: u32,
        now: Millis,
    ) -> Result<Vec<Delivery>> {
        Ok(self.lock().deliveries(realm, to, since, limit, now))
    }

    fn news(&self) -> broadcast::Receiver<RendezvousNews> {
        self.news.subscribe()
    }

    async fn count(&self, realm: &Realm) -> Result<u64> {
        Ok(self.lock().count(realm))
    }
}
