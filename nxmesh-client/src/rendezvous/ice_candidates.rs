use nxmesh_core::rendezvous::{Millis, Role};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Value, json};

use super::{RendezvousClient, path::path};
use crate::{Result, request::Call};

/// How many the server takes at once.
pub(super) const AT_ONCE: usize = 100;

/// How peers reach each other, in the protocol `offers`: `client.ice_candidates()`.
#[derive(Debug, Clone)]
pub struct IceCandidates {
    client: RendezvousClient,
}

/// A candidate of the other side.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Candidate {
    /// What the other side sent, to the letter.
    pub candidate: Value,
    /// Who that is.
    pub peer_id: String,
    /// Their part.
    #[serde(deserialize_with = "role")]
    pub role: Role,
    /// When it came. Of one offer each later one has a higher figure.
    pub created_at: Millis,
}

impl IceCandidates {
    pub(super) const fn new(client: RendezvousClient) -> Self {
        Self { client }
    }

    /// Adds candidates of one's own to an offer that one made or answered: all of them, in this
    /// order, or none. What they are is up to the two peers; browsers send `RTCIceCandidateInit`.
    ///
    /// # Errors
    /// 404 when there is no such offer, 403 when one has no part in it, 400 when there are too many
    /// or one is too long.
    pub async fn add<T: Serialize + Sync>(&self, offer: &str, candidates: &[T]) -> Result<()> {
        #[derive(Deserialize)]
        struct Added {}
        let call = Call::post_unnamed(path("offers/", offer, "/ice-candidates")?);
        let Added {} = self.client.fetch(call.body(&json!({"candidates": candidates}))).await?;
        Ok(())
    }

    /// The candidates of the other side that came after this, `0` for all, in the order in which they
    /// came. The last one's [`created_at`](Candidate::created_at) is where to go on.
    ///
    /// # Errors
    /// 404 when there is no such offer, 403 when one has no part in it.
    pub async fn since(&self, offer: &str, since: Millis) -> Result<Vec<Candidate>> {
        #[derive(Deserialize)]
        struct Candidates {
            candidates: Vec<Candidate>,
        }
        let call = Call::get(path("offers/", offer, "/ice-candidates")?);
        let call = call.query("since", since.to_string());
        Ok(self.client.fetch::<Candidates>(call).await?.candidates)
    }
}

pub(super) fn role<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
    let text = String::deserialize(from)?;
    let known = [Role::Offerer, Role::Answerer].into_iter().find(|it| it.as_str() == text);
    known.ok_or_else(|| D::Error::custom(format!("{text:?} is neither offerer nor answerer")))
}
