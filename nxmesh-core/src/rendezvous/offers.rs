use serde_json::Value;
use subtle::ConstantTimeEq;

use super::{
    AddCandidates, Answer, AnswerOutcome, Candidate, CandidatesAdded, Credential, Heartbeat,
    Millis, NewOffer, Offer, OfferDraft, OfferFilter, OfferPage, OfferQuery, PeerFilter, Publish,
    PublishOutcome, Quota, ReadCandidates, Realm, TopicOrder, TopicPage, TopicQuery,
    candidate::levels,
    context::Context,
    draft::{self, invalid},
    offer_id,
    settings::{
        MAX_CANDIDATE, MAX_CANDIDATE_LEVELS, MAX_CANDIDATES_PER_REQUEST, MAX_CANDIDATES_PER_SIDE,
        MAX_WRONG_SECRETS, SECRET_LOCK,
    },
};
use crate::{Error, ErrorKind, Result, Secret};

/// What the secrets of offers are encrypted for.
const PURPOSE: &str = "secret of an offer";
const GONE: &str = "Offer not found or expired";
const WRONG_SECRET: &str = "Invalid or missing secret";

/// What peers with credentials do. Errors have the texts of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Offers<'a>(&'a Context);

/// An offer that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeOffer {
    /// Its name.
    pub id: String,
    /// Under which topics it is found, as they were sent.
    pub topics: Vec<String>,
    /// From then on it is gone.
    pub expires_at: Millis,
}

/// An answer that is to be given.
#[derive(Debug, Clone)]
pub struct AnswerDraft {
    /// The session description.
    pub sdp: String,
    /// The secret of the offer.
    pub secret: Option<Secret<String>>,
}

impl AnswerDraft {
    /// Reads `{"sdp": ..., "secret": ...}`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), with the text of the protocol.
    pub fn parse(body: &Value) -> Result<Self> {
        let sdp = draft::sdp(body, "Missing or invalid required parameter: sdp")?;
        Ok(Self { sdp, secret: draft::answer_secret(body)? })
    }
}

impl<'a> Offers<'a> {
    pub(super) const fn new(context: &'a Context) -> Self {
        Self(context)
    }

    /// A new peer.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal), never in practice.
    pub fn register(&self) -> Result<Credential> {
        self.0.keys.issue()
    }

    /// Whether this is the secret of this peer.
    #[must_use]
    pub fn is_peer(&self, peer_id: &str, secret: &str) -> bool {
        self.0.keys.check(peer_id, secret)
    }

    /// Makes offers: all of them, or none. The same once more only lives longer.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when an id belongs to another offer; [`Invalid`](ErrorKind::Invalid) when
    /// the peer would have too many; [`Unavailable`](ErrorKind::Unavailable) when there are too many in all.
    pub async fn publish(&self, peer: &str, drafts: Vec<OfferDraft>) -> Result<Vec<MadeOffer>> {
        let Context { store, settings, master, .. } = self.0;
        let now = self.0.now();
        let (mut offers, mut made) = (Vec::new(), Vec::new());
        for OfferDraft { sdp, topics: sent, ttl, secret, info, id } in drafts {
            let id = id.unwrap_or_else(|| offer_id(&sdp, &sent));
            let expires_at = now + settings.ttl(ttl);
            let mut topics: Vec<String> = Vec::new();
            for topic in &sent {
                if !topics.contains(topic) {
                    topics.push(topic.clone());
                }
            }
            let seal = |it: Secret<String>| master.seal(PURPOSE, it.expose().as_bytes());
            let secret = secret.map(seal).transpose()?;
            made.push(MadeOffer { id: id.clone(), topics: sent, expires_at });
            offers.push(NewOffer { id, sdp: sdp.into(), topics, info, secret, expires_at });
        }
        let quota = Quota { of_peer: settings.max_offers_per_peer, of_all: settings.max_offers };
        let publish = Publish { realm: Realm::Offers, peer: peer.to_owned(), offers, now, quota };
        match store.publish(publish).await? {
            PublishOutcome::Published(published) => {
                for (made, published) in made.iter_mut().zip(published) {
                    made.expires_at = published.expires_at;
                }
                Ok(made)
            }
            PublishOutcome::Taken(_) => {
                Err(Error::new(ErrorKind::Conflict, "Offer already exists"))
            }
            PublishOutcome::TooManyOfPeer => {
                let most = quota.of_peer;
                Err(invalid(format!("Too many offers. Maximum {most} live offers per peer")))
            }
            PublishOutcome::Full => Err(Error::new(
                ErrorKind::Unavailable,
                "Too many offers on this server. Try again later",
            )),
        }
    }

    /// Open offers of a topic, the one last seen first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn by_topic(
        &self,
        topic: &str,
        excluded: Option<PeerFilter>,
        limit: u32,
    ) -> Result<OfferPage> {
        let query = OfferQuery {
            realm: Realm::Offers,
            topics: vec![topic.to_owned()],
            not_of: None,
            excluded,
            offset: 0,
            limit,
            now: self.0.now(),
        };
        self.0.store.offers_by_topic(query).await
    }

    /// Topics that have open offers, the one with the most peers first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn topics(&self, prefix: &str, offset: u64, limit: u32) -> Result<TopicPage> {
        let query = TopicQuery {
            realm: Realm::Offers,
            prefix: prefix.to_owned(),
            order: TopicOrder::MostPeers,
            offset,
            limit,
            now: self.0.now(),
        };
        self.0.store.topics(query).await
    }

    /// Offers of a peer, the one last seen first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn of_peer(&self, peer: &str, filter: OfferFilter) -> Result<Vec<Offer>> {
        self.0.store.offers_of(&Realm::Offers, peer, filter, self.0.now()).await
    }

    /// An offer that is live.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(&self, id: &str) -> Result<Option<Offer>> {
        self.0.store.offer(&Realm::Offers, id, self.0.now()).await
    }

    /// What its peer wrote as the secret of an offer.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when it was stored under another master key.
    pub fn secret(&self, offer: &Offer) -> Result<Option<String>> {
        let open = |it| {
            let text = self.0.master.open(PURPOSE, it)?;
            let bad = |_| Error::new(ErrorKind::Corrupt, "the secret of an offer is no text");
            String::from_utf8(text.expose().clone()).map_err(bad)
        };
        offer.secret.as_ref().map(open).transpose()
    }

    /// Says that the peer of an offer is there.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), or [`Forbidden`](ErrorKind::Forbidden) when it is another's.
    pub async fn heartbeat(&self, id: &str, peer: &str) -> Result<Millis> {
        let now = self.0.now();
        match self.0.store.heartbeat(&Realm::Offers, id, peer, now).await? {
            Heartbeat::Seen => Ok(now),
            Heartbeat::NotFound => Err(Error::new(ErrorKind::NotFound, GONE)),
            Heartbeat::NotAllowed => {
                Err(Error::new(ErrorKind::Forbidden, "Not authorized to update this offer"))
            }
        }
    }

    /// Deletes an offer of the peer.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), also when it is another's.
    pub async fn delete(&self, id: &str, peer: &str) -> Result<()> {
        if self.0.store.delete_offer(&Realm::Offers, id, peer).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "Offer not found or not authorized"))
    }

    /// Answers an offer. Of many, one does.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for all that the protocol knows: not there, wrong secret, answered.
    pub async fn answer(&self, id: &str, peer: &str, draft: AnswerDraft) -> Result<Millis> {
        let now = self.0.now();
        let offer = self.0.store.offer(&Realm::Offers, id, now).await?;
        let offer = offer.ok_or_else(|| invalid(GONE))?;
        self.check_secret(&offer, draft.secret, now).await?;
        if offer.answered.is_some() {
            return Err(invalid("Offer already answered"));
        }
        let answer = Answer {
            realm: Realm::Offers,
            id: id.to_owned(),
            by: peer.to_owned(),
            sdp: draft.sdp.into(),
            matched_topics: None,
            expires_at: None,
            now,
        };
        match self.0.store.answer(answer).await? {
            AnswerOutcome::Answered(offer) => Ok(offer.answered.map_or(now, |it| it.at)),
            AnswerOutcome::NotFound => Err(invalid(GONE)),
            AnswerOutcome::AlreadyAnswered => {
                Err(invalid("Offer already answered (race condition)"))
            }
            // Of guesses that come at once no more count than of those that come one by one.
            AnswerOutcome::Locked => Err(invalid(WRONG_SECRET)),
        }
    }

    /// Some wrong ones lock an offer for a while: also the right one is refused then.
    async fn check_secret(
        &self,
        offer: &Offer,
        given: Option<Secret<String>>,
        now: Millis,
    ) -> Result<()> {
        let Some(secret) = self.secret(offer)? else { return Ok(()) };
        let wrong = || invalid(WRONG_SECRET);
        if offer.locked_until > now {
            return Err(wrong());
        }
        let given = given.as_ref().map_or("", |it| it.expose().as_str());
        if bool::from(secret.as_bytes().ct_eq(given.as_bytes())) {
            return Ok(());
        }
        let until = now + SECRET_LOCK;
        let (store, most) = (&self.0.store, MAX_WRONG_SECRETS);
        store.wrong_secret(&Realm::Offers, &offer.id, most, now, until).await?;
        Err(wrong())
    }

    /// Adds candidates, each as JSON to the letter. Answers how many.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when there are too many or one is too large; [`NotFound`](ErrorKind::NotFound);
    /// [`Forbidden`](ErrorKind::Forbidden) for all but the offer's peer and the one that answered it.
    pub async fn add_candidates(&self, id: &str, peer: &str, bodies: Vec<String>) -> Result<usize> {
        let added = bodies.len();
        check_candidates(&bodies)?;
        let candidates = AddCandidates {
            realm: Realm::Offers,
            id: id.to_owned(),
            by: peer.to_owned(),
            bodies,
            most_early: None,
            most: MAX_CANDIDATES_PER_SIDE,
            now: self.0.now(),
        };
        match self.0.store.add_candidates(candidates).await? {
            CandidatesAdded::Added { .. } => Ok(added),
            CandidatesAdded::NotFound => Err(Error::new(ErrorKind::NotFound, GONE)),
            CandidatesAdded::NotAllowed => Err(Error::new(
                ErrorKind::Forbidden,
                "Not authorized to post ICE candidates for this offer",
            )),
            CandidatesAdded::TooMany => Err(too_many_candidates()),
        }
    }

    /// Candidates of the other side with a stamp above `since`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`Forbidden`](ErrorKind::Forbidden) for all but the two peers.
    pub async fn candidates(&self, id: &str, peer: &str, since: Millis) -> Result<Vec<Candidate>> {
        let (store, now) = (&self.0.store, self.0.now());
        match store.candidates(&Realm::Offers, id, peer, since, now).await? {
            ReadCandidates::Read(candidates) => Ok(candidates),
            ReadCandidates::NotFound => Err(Error::new(ErrorKind::NotFound, GONE)),
            ReadCandidates::NotAllowed => Err(Error::new(
                ErrorKind::Forbidden,
                "Not authorized to view ICE candidates for this offer",
            )),
        }
    }
}

pub(super) fn check_candidates(bodies: &[String]) -> Result<()> {
    if bodies.len() > MAX_CANDIDATES_PER_REQUEST {
        let most = MAX_CANDIDATES_PER_REQUEST;
        return Err(invalid(format!("Too many candidates. Maximum {most} per request")));
    }
    if bodies.iter().any(|it| it.len() > MAX_CANDIDATE) {
        return Err(invalid(format!("Candidates must be {MAX_CANDIDATE} bytes or less")));
    }
    match bodies.iter().any(|it| levels(it) > MAX_CANDIDATE_LEVELS) {
        true => Err(invalid(format!(
            "Candidates must have {MAX_CANDIDATE_LEVELS} levels of arrays and objects or less"
        ))),
        false => Ok(()),
    }
}

pub(super) fn too_many_candidates() -> Error {
    let most = MAX_CANDIDATES_PER_SIDE;
    invalid(format!("Too many candidates. Maximum {most} per offer and side"))
}
