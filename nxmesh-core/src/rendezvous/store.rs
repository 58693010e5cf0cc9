use std::fmt::Debug;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{
    AddCandidates, Answer, AnswerOutcome, Candidate, CandidatesAdded, Delivery, Heartbeat, Nonce,
    Offer, OfferFilter, OfferPage, OfferQuery, Publish, PublishOutcome, ReadCandidates, Realm,
    RendezvousNews, TopicCount, TopicPage, TopicQuery,
};
use crate::Result;

/// A time as clients of rendezvous write it: milliseconds since 1970.
pub type Millis = i64;

/// What of the newest changes a power cut may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was answered.
    #[default]
    Durable,
    /// What was answered in the last second. A crash of the process alone takes nothing.
    Relaxed,
}

/// What rendezvous asks of a database.
///
/// An offer is *live* until its `expires_at` is reached: `expires_at > now`. It is *open* while it is live and
/// nobody has answered it. What is not live is never told of, whether it was
/// [swept](Self::sweep) or not. Each write is applied whole, or not at all, and others see it only whole.
///
/// What is delivered to a peer gets a stamp when it is committed, see [`Delivery::stamp`].
#[async_trait]
pub trait RendezvousStore: Debug + Send + Sync + 'static {
    /// Makes offers: all of them, or none.
    ///
    /// An offer that the peer already has under this id, live, with the same session description
    /// and topics, is kept as it is, but for `expires_at`, `last_seen`, `info` and `secret`: so
    /// publishing twice is harmless. `created_at` is `now`, or more where the peer already has one made then.
    async fn publish(&self, publish: Publish) -> Result<PublishOutcome>;

    /// Answers an open offer that is not locked. Of many at once, one does.
    ///
    /// The offer is then found under no topic. The candidates of its two peers that came before
    /// are delivered now, in the order in which they came, after the answer; those of others are gone.
    async fn answer(&self, answer: Answer) -> Result<AnswerOutcome>;

    /// Adds candidates to a live offer, and delivers them when there is an answer.
    async fn add_candidates(&self, candidates: AddCandidates) -> Result<CandidatesAdded>;

    /// Notes that the peer of a live offer is there. It expires when it would have.
    async fn heartbeat(&self, realm: &Realm, id: &str, by: &str, now: Millis) -> Result<Heartbeat>;

    /// Counts a wrong secret; at the `most`th the offer is locked until `until`, and counting begins anew.
    /// Nothing happens to an offer that is not live.
    async fn wrong_secret(
        &self,
        realm: &Realm,
        id: &str,
        most: u32,
        now: Millis,
        until: Millis,
    ) -> Result<()>;

    /// Deletes an offer of a peer, with its candidates, live or not. Answers whether there was one.
    async fn delete_offer(&self, realm: &Realm, id: &str, by: &str) -> Result<bool>;

    /// Puts all open offers of a peer under these topics instead. Answers how many.
    async fn retag(&self, realm: &Realm, by: &str, topics: &[String], now: Millis) -> Result<u64>;

    /// Notes that these were used. Answers for each whether it was not used before, in this call or an earlier
    /// one, by the same key, and is not forgotten: a nonce is kept until it expires.
    async fn use_nonces(&self, nonces: &[Nonce], now: Millis) -> Result<Vec<bool>>;

    /// Drops offers that are not live, with their candidates, and nonces that have expired: `most` of
    /// each at the most, those first that expired first. Answers which offers; fewer than there are, where much
    /// belongs to them, but one at least if there are any.
    async fn sweep(&self, now: Millis, most: u32) -> Result<Vec<Expired>>;

    /// A live offer; `None` when there is none of this id.
    async fn offer(&self, realm: &Realm, id: &str, now: Millis) -> Result<Option<Offer>>;

    /// Live offers of a peer, the one last seen first, then the newest; of those that
    /// were answered, the one last answered first.
    async fn offers_of(
        &self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Result<Vec<Offer>>;

    /// Open offers by topic. What it costs grows with the page, not with the topic.
    async fn offers_by_topic(&self, query: OfferQuery) -> Result<OfferPage>;

    /// Topics that have open offers. What it costs grows with the page, not with the topics, unless a
    /// prefix is given: then with the topics that begin so.
    async fn topics(&self, query: TopicQuery) -> Result<TopicPage>;

    /// How much there is in each of these topics, in the order given, without what is `not_of`'s.
    async fn topic_counts(
        &self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Result<Vec<TopicCount>>;

    /// The candidates of the other side, to a peer that has a part in a live offer, above this stamp.
    async fn candidates(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        since: Millis,
        now: Millis,
    ) -> Result<ReadCandidates>;

    /// All candidates that a peer added to a live offer, in the order in which they came; none when
    /// there is no such offer.
    async fn candidates_of(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Result<Vec<Candidate>>;

    /// What reached a peer after this stamp, lowest first, of live offers.
    async fn deliveries(
        &self,
        realm: &Realm,
        to: &str,
        since: Millis,
        limit: u32,
        now: Millis,
    ) -> Result<Vec<Delivery>>;

    /// What changes from now on, at whichever server. News may be lost on their way: then `Missed` is told, or the
    /// channel says that the receiver is behind.
    fn news(&self) -> broadcast::Receiver<RendezvousNews>;

    /// How many offers there are in a realm, those included that expired and were not swept.
    async fn count(&self, realm: &Realm) -> Result<u64>;
}

/// An offer that was swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Where it was.
    pub realm: Realm,
    /// Its name there.
    pub id: String,
    /// Whose it was.
    pub peer: String,
}
