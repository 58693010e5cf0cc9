use std::{collections::BTreeMap, sync::Arc};

use rand::RngExt;
use serde::Serialize;

use super::{
    batch::{Rpc, entry},
    error::{CallError, CallResult, RpcErrorCode},
    limits::MAX_OFFSET,
    operation::{Count, CountOffersByTags, Discover, Which},
};
use crate::rendezvous::{Millis, Offer, OfferQuery, Realm};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    offer_id: String,
    public_key: String,
    tags: Vec<String>,
    sdp: Arc<str>,
    created_at: Millis,
    expires_at: Millis,
}

#[derive(Serialize)]
struct Page {
    offers: Vec<Found>,
    count: usize,
    limit: u32,
    offset: u32,
}

#[derive(Serialize)]
pub(super) struct Counts {
    counts: BTreeMap<String, u64>,
}

impl Rpc<'_> {
    pub(super) async fn discover(&self, discover: Discover) -> Vec<u8> {
        match discover.which {
            Which::Page { limit, offset } => entry(self.page(discover, limit, offset).await),
            Which::Random => entry(self.one_of(discover).await),
        }
    }

    pub(super) async fn count_offers_by_tags(&self, of: CountOffersByTags) -> CallResult<Counts> {
        let CountOffersByTags { tags, not_of, what } = of;
        let store = &self.0.store;
        let counts =
            store.topic_counts(&Realm::Rpc, &tags, not_of.as_deref(), self.0.now()).await?;
        let counts = counts.into_iter().map(|it| {
            let count = match what {
                Count::Offers => it.offers,
                Count::Keys => it.peers,
            };
            (it.topic, count)
        });
        Ok(Counts { counts: counts.collect() })
    }

    async fn page(&self, discover: Discover, limit: u32, offset: u32) -> CallResult<Page> {
        let Discover { tags, not_of, which: _ } = discover;
        let offers = self.found(tags, not_of, limit, offset).await?;
        Ok(Page { count: offers.len(), offers, limit, offset })
    }

    /// One of the offers found, the newest of each tag. Which tag it has is decided first, by how many offers each has: so
    /// one with several of the tags comes up more often.
    async fn one_of(&self, discover: Discover) -> CallResult<Found> {
        let Discover { tags, not_of, which: _ } = discover;
        let now = self.0.now();
        let counts = self.0.store.topic_counts(&Realm::Rpc, &tags, not_of.as_deref(), now).await?;
        let newest = |offers: u64| u32::try_from(offers).unwrap_or(MAX_OFFSET).min(MAX_OFFSET);
        let counts = counts.into_iter().map(|it| (it.topic, newest(it.offers)));
        let counts: Vec<_> = counts.filter(|(_, offers)| *offers > 0).collect();
        let all: u32 = counts.iter().map(|(_, offers)| offers).sum();
        if all > 0 {
            let mut at = rand::rng().random_range(0..all);
            for (tag, offers) in counts {
                if at < offers {
                    let found = self.found(vec![tag], not_of.clone(), 1, at).await?;
                    if let Some(found) = found.into_iter().next() {
                        return Ok(found);
                    }
                    break;
                }
                at -= offers;
            }
        }
        // It went away in the meantime, or others came: the newest will do.
        let found = self.found(tags, not_of, 1, 0).await?.into_iter().next();
        found.ok_or_else(|| {
            CallError::new(RpcErrorCode::OfferNotFound, "No offers found matching tags")
        })
    }

    async fn found(
        &self,
        topics: Vec<String>,
        not_of: Option<String>,
        limit: u32,
        offset: u32,
    ) -> CallResult<Vec<Found>> {
        let (realm, now) = (Realm::Rpc, self.0.now());
        let query = OfferQuery { realm, topics, not_of, excluded: None, offset, limit, now };
        let page = self.0.store.offers_by_topic(query).await?;
        Ok(page.offers.into_iter().map(Found::from).collect())
    }
}

impl From<Offer> for Found {
    fn from(offer: Offer) -> Self {
        let Offer { id, peer, sdp, topics, created_at, expires_at, .. } = offer;
        Self { offer_id: id, public_key: peer, tags: topics, sdp, created_at, expires_at }
    }
}
