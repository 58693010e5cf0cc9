use std::time::Duration;

use nxmesh_core::{
    Secret,
    rendezvous::{Millis, PeerFilter},
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use super::{RendezvousClient, path::path};
use crate::{Result, request::Call};

/// What peers offer, in the protocol `offers`: `client.offers()`.
#[derive(Debug, Clone)]
pub struct Offers {
    client: RendezvousClient,
}

/// An offer that is to be made.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct NewOffer {
    /// The session description.
    pub sdp: String,
    /// Under which topics it is found.
    pub topics: Vec<String>,
    /// For how long, within the server's bounds; the server decides, if not set.
    #[serde(serialize_with = "millis", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// What an answer needs to know; anybody may answer, if not set.
    #[serde(serialize_with = "exposed", skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret<String>>,
    /// What everybody may read about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
    /// Its id; the server makes one of what is offered, if not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What an offer got when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PublishedOffer {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub peer_id: String,
    /// Under which topics it is found.
    pub topics: Vec<String>,
    /// From then on it is gone.
    pub expires_at: Millis,
}

/// An offer of anybody's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// Whose it is.
    #[serde(default)]
    pub peer_id: String,
    /// The session description.
    pub sdp: String,
    /// Under which topics it is found.
    pub topics: Vec<String>,
    /// From then on it is gone.
    pub expires_at: Millis,
    /// When its peer was last heard of.
    pub last_seen: Millis,
    /// Whether an answer needs to know a secret.
    pub has_secret: bool,
    /// What its peer says about it.
    pub info: Option<String>,
}

/// Some offers of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FoundOffers {
    /// The one last seen first.
    pub offers: Vec<Offer>,
    /// How many there are.
    pub total: u64,
}

/// An offer of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct OwnOffer {
    /// Its id.
    pub id: String,
    /// The session description.
    pub sdp: String,
    /// Under which topics it is found.
    pub topics: Vec<String>,
    /// When it was made.
    pub created_at: Millis,
    /// From then on it is gone.
    pub expires_at: Millis,
    /// When its peer was last heard of.
    pub last_seen: Millis,
    /// What an answer needs to know.
    pub secret: Option<String>,
    /// What everybody may read about it.
    pub info: Option<String>,
    /// Who answered it, if anybody has.
    pub answerer_peer_id: Option<String>,
    /// When that was.
    pub answered_at: Option<Millis>,
}

/// That an answer counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Answered {
    /// Which offer.
    pub offer_id: String,
    /// By whom.
    pub answerer_id: String,
    /// When.
    pub answered_at: Millis,
}

/// An answer to an offer of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Answer {
    /// To which offer.
    pub offer_id: String,
    /// By whom.
    pub answerer_id: String,
    /// Their session description.
    pub sdp: String,
    /// When: before any candidate of theirs.
    pub answered_at: Millis,
}

impl NewOffer {
    /// An offer of this session description under these topics.
    #[must_use]
    pub fn new<T: Into<String>>(
        sdp: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        let topics = topics.into_iter().map(Into::into).collect();
        Self { sdp: sdp.into(), topics, ttl: None, secret: None, info: None, id: None }
    }
}

impl Offers {
    pub(super) const fn new(client: RendezvousClient) -> Self {
        Self { client }
    }

    /// Makes offers: all of them, or none. The same ones again are kept as they are, for longer.
    ///
    /// # Errors
    /// 400, naming what is wrong with an offer; 409 when an id is somebody else's.
    pub async fn publish(&self, offers: &[NewOffer]) -> Result<Vec<PublishedOffer>> {
        #[derive(Deserialize)]
        struct Published {
            offers: Vec<PublishedOffer>,
        }
        let call = Call::post_unnamed("offers".to_owned()).body(&json!({"offers": offers}));
        Ok(self.client.fetch::<Published>(call.repeatable()).await?.offers)
    }

    /// Open offers of a topic, without those of peers in a filter; as many as the server decides, if
    /// no limit is given.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn by_topic(
        &self,
        topic: &str,
        without: Option<&PeerFilter>,
        limit: Option<u32>,
    ) -> Result<FoundOffers> {
        let mut call = Call::get(path("offers/by-topic/", topic, "")?);
        if let Some(without) = without {
            call = call.query("bloom", without.to_base64());
        }
        if let Some(limit) = limit {
            call = call.query("limit", limit.to_string());
        }
        self.client.fetch(call).await
    }

    /// Open offers of a peer; none, where there is no such peer.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn of_peer(&self, peer: &str) -> Result<Vec<Offer>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OfPeer {
            peer_id: String,
            offers: Vec<Offer>,
        }
        let call = Call::get(path("peers/", peer, "/offers")?);
        let OfPeer { peer_id, mut offers } = self.client.fetch(call).await?;
        for offer in &mut offers {
            offer.peer_id.clone_from(&peer_id);
        }
        Ok(offers)
    }

    /// One's own, answered or not.
    ///
    /// # Errors
    /// 401 without a credential.
    pub async fn mine(&self) -> Result<Vec<OwnOffer>> {
        #[derive(Deserialize)]
        struct Mine {
            offers: Vec<OwnOffer>,
        }
        Ok(self.client.fetch::<Mine>(Call::get("offers/mine".to_owned())).await?.offers)
    }

    /// Says that the peer of an offer of one's own is still there, and answers when that was. The
    /// offer expires when it would have.
    ///
    /// # Errors
    /// 404 when there is no such offer; 403 when it is somebody else's.
    pub async fn heartbeat(&self, id: &str) -> Result<Millis> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Seen {
            last_seen: Millis,
        }
        let call = Call::put(path("offers/", id, "/heartbeat")?);
        Ok(self.client.fetch::<Seen>(call).await?.last_seen)
    }

    /// Takes an offer of one's own back.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn delete(&self, id: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Deleted {}
        let Deleted {} = self.client.fetch(Call::delete(path("offers/", id, "")?)).await?;
        Ok(())
    }

    /// Answers an offer. Of many who do, one is taken.
    ///
    /// # Errors
    /// 400: [`is_not_found`](crate::RendezvousError::is_not_found) when it is gone,
    /// [`is_already_answered`](crate::RendezvousError::is_already_answered) when somebody was faster, or
    /// `Invalid or missing secret`.
    pub async fn answer(
        &self,
        id: &str,
        sdp: &str,
        secret: Option<&Secret<String>>,
    ) -> Result<Answered> {
        #[derive(Serialize)]
        struct NewAnswer<'a> {
            sdp: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            secret: Option<&'a str>,
        }
        let answer = NewAnswer { sdp, secret: secret.map(|it| it.expose().as_str()) };
        let call = Call::post_unnamed(path("offers/", id, "/answer")?).body(&answer);
        self.client.fetch(call).await
    }

    /// All answers to one's own offers, the newest first. Reading takes none away.
    ///
    /// # Errors
    /// 401 without a credential.
    pub async fn answers(&self) -> Result<Vec<Answer>> {
        #[derive(Deserialize)]
        struct Answers {
            answers: Vec<Answer>,
        }
        Ok(self.client.fetch::<Answers>(Call::get("offers/answers".to_owned())).await?.answers)
    }
}

fn millis<S: Serializer>(ttl: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    // Whole milliseconds, as far as the protocol counts.
    ttl.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)).serialize(to)
}

fn exposed<S: Serializer>(secret: &Option<Secret<String>>, to: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(to)
}
