use std::{collections::BTreeSet, sync::Arc};

use rand::RngExt;
use serde::Serialize;

use super::{
    batch::Rpc,
    error::{CallError, CallResult, RpcErrorCode},
    limits::DEFAULT_TTL,
    operation::{AnswerOffer, PublishOffer},
};
use crate::rendezvous::{
    Answer, AnswerOutcome, Millis, NewOffer, Offer, PublicKey, Publish, PublishOutcome, Quota,
    Realm, hex,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublishedOffers {
    public_key: String,
    tags: Vec<String>,
    offers: Vec<PublishedOffer>,
    created_at: Millis,
    expires_at: Millis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublishedOffer {
    offer_id: String,
    sdp: Arc<str>,
    created_at: Millis,
    expires_at: Millis,
}

#[derive(Serialize)]
pub(super) struct Deleted {
    success: bool,
}

#[derive(Serialize)]
pub(super) struct Retagged {
    success: bool,
    count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnswerGiven {
    success: bool,
    offer_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnswerFound {
    sdp: Arc<str>,
    offer_id: String,
    answerer_public_key: String,
    answered_at: Millis,
}

impl Rpc<'_> {
    pub(super) async fn publish_offer(
        &self,
        by: &PublicKey,
        publish: PublishOffer,
    ) -> CallResult<PublishedOffers> {
        let PublishOffer { tags, sdps, ttl } = publish;
        let (now, settings) = (self.0.now(), &self.0.settings);
        let quota = Quota { of_peer: settings.max_offers_per_peer, of_all: settings.max_offers };
        let expires_at = now + self.ttl(ttl);
        let offers: Vec<_> = sdps
            .into_iter()
            .map(|sdp| {
                let (id, topics) = (new_id(), tags.clone());
                NewOffer { id, sdp, topics, info: None, secret: None, expires_at }
            })
            .collect();
        let peer = by.as_str().to_owned();
        let publish =
            Publish { realm: Realm::Rpc, peer: peer.clone(), offers: offers.clone(), now, quota };
        let published = match self.0.store.publish(publish).await? {
            PublishOutcome::Published(published) => published,
            PublishOutcome::TooManyOfPeer => {
                let what = format!("User offer limit exceeded. The limit is {}.", quota.of_peer);
                return Err(CallError::new(RpcErrorCode::TooManyOffersPerUser, what));
            }
            PublishOutcome::Full => {
                let what =
                    format!("Server offer limit reached ({}). Try again later.", quota.of_all);
                return Err(CallError::new(RpcErrorCode::StorageFull, what));
            }
            PublishOutcome::Taken(id) => {
                let what = format!("the random id {id} is taken");
                return Err(crate::Error::new(crate::ErrorKind::Internal, what).into());
            }
        };
        let offers = offers.into_iter().zip(published).map(|(offer, published)| PublishedOffer {
            offer_id: offer.id,
            sdp: offer.sdp,
            created_at: published.created_at,
            expires_at: published.expires_at,
        });
        let offers = offers.collect();
        Ok(PublishedOffers { public_key: peer, tags, offers, created_at: now, expires_at })
    }

    pub(super) async fn delete_offer(&self, by: &PublicKey, id: &str) -> CallResult<Deleted> {
        if self.0.store.delete_offer(&Realm::Rpc, id, by.as_str()).await? {
            return Ok(Deleted { success: true });
        }
        let what = "Offer not found or not owned by this identity";
        Err(CallError::new(RpcErrorCode::NotAuthorized, what))
    }

    pub(super) async fn update_offer_tags(
        &self,
        by: &PublicKey,
        tags: &[String],
    ) -> CallResult<Retagged> {
        let count = self.0.store.retag(&Realm::Rpc, by.as_str(), tags, self.0.now()).await?;
        Ok(Retagged { success: true, count })
    }

    pub(super) async fn answer_offer(
        &self,
        by: &PublicKey,
        answer: AnswerOffer,
    ) -> CallResult<AnswerGiven> {
        let AnswerOffer { id, sdp, matched_tags } = answer;
        let offer = self.live_offer(&id).await?;
        if offer.answered.is_some() {
            return Err(already_answered());
        }
        let tags: BTreeSet<&str> = offer.topics.iter().map(String::as_str).collect();
        let strange = matched_tags.iter().flatten().map(String::as_str);
        let strange: Vec<_> = strange.filter(|it| !tags.contains(it)).collect();
        if !strange.is_empty() {
            let what = format!("matchedTags contains tags not on offer: {}", strange.join(", "));
            return Err(CallError::params(what));
        }
        let now = self.0.now();
        let answer = Answer {
            realm: Realm::Rpc,
            id: id.clone(),
            by: by.as_str().to_owned(),
            sdp,
            matched_topics: matched_tags,
            expires_at: Some(now + self.0.settings.answered_ttl),
            now,
        };
        match self.0.store.answer(answer).await? {
            AnswerOutcome::Answered(_) => Ok(AnswerGiven { success: true, offer_id: id }),
            AnswerOutcome::NotFound => Err(not_found()),
            // Without a secret nothing is ever locked.
            AnswerOutcome::AlreadyAnswered | AnswerOutcome::Locked => Err(already_answered()),
        }
    }

    pub(super) async fn get_offer_answer(
        &self,
        by: &PublicKey,
        id: String,
    ) -> CallResult<AnswerFound> {
        let offer = self.live_offer(&id).await?;
        if offer.peer != by.as_str() {
            let what = "Not authorized to access this offer";
            return Err(CallError::new(RpcErrorCode::NotAuthorized, what));
        }
        let answered = offer.answered.ok_or_else(|| {
            CallError::new(RpcErrorCode::OfferNotAnswered, "Offer not yet answered")
        })?;
        Ok(AnswerFound {
            sdp: answered.sdp,
            offer_id: id,
            answerer_public_key: answered.by,
            answered_at: answered.at,
        })
    }

    async fn live_offer(&self, id: &str) -> CallResult<Offer> {
        let offer = self.0.store.offer(&Realm::Rpc, id, self.0.now()).await?;
        offer.ok_or_else(not_found)
    }

    fn ttl(&self, asked: Option<f64>) -> Millis {
        let settings = &self.0.settings;
        let asked = asked.map_or(DEFAULT_TTL, |it| it as Millis);
        asked.min(settings.max_ttl).max(settings.min_ttl)
    }
}

pub(super) fn not_found() -> CallError {
    CallError::new(RpcErrorCode::OfferNotFound, "Offer not found")
}

fn already_answered() -> CallError {
    CallError::new(RpcErrorCode::OfferAlreadyAnswered, "Offer already answered")
}

/// The first server hashed a session description with something random: nobody can tell.
fn new_id() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill(&mut bytes);
    hex::to_hex(&bytes)
}
