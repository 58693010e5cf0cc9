use std::pin::pin;

use futures::{StreamExt, stream};
use serde_json::Value;
use uuid::Uuid;

use super::{
    AddCandidates, Answer, AnswerOutcome, CandidatesAdded, NewOffer, Offer, OfferPage, OfferQuery,
    Publish, PublishOutcome, Quota, Realm, TopicOrder, TopicPage, TopicQuery,
    candidate::{Role, levels},
    context::Context,
    draft::invalid,
    settings::{
        MAX_CANDIDATE, MAX_CANDIDATE_LEVELS, MAX_LIST_BYTES, MAX_OFFER_ID, MAX_SDP, MAX_TOPIC,
    },
    utf16_len,
};
use crate::{Error, ErrorKind, Result};

/// How long the info of a session may be, in UTF-16 code units.
const MAX_INFO: usize = 1_024;
/// How many candidates one side of a session may add.
const MAX_CANDIDATES: u32 = 100;
/// How many sessions of a topic are listed: the newest.
const MAX_LISTED: u32 = 1_000;
/// How many of them are read together.
const PAGE: u32 = 100;
/// Of how many of these the candidates are.
const READS: usize = 8;
const GONE: &str = "Session not found, expired, or origin mismatch";

/// What pages of one origin do: sessions, named by a code that whoever knows it may use. Errors have the texts
/// of the protocol. A session is an offer in the realm of its origin.
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'a>(&'a Context);

/// A session that is to be opened.
#[derive(Debug, Clone)]
pub struct SessionDraft {
    /// Where it is found.
    pub topic: String,
    /// What tells peers apart.
    pub info: String,
    /// The session description.
    pub offer: String,
    /// Its code; a random one, if not given.
    pub code: Option<String>,
}

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Code, info, description and times.
    pub offer: Offer,
    /// Candidates of the offerer, each as JSON.
    pub candidates: Vec<String>,
}

/// What one side adds to a session.
#[derive(Debug, Clone)]
pub struct SessionPost {
    /// Which one.
    pub code: String,
    /// By which side.
    pub side: Role,
    /// What.
    pub what: Posted,
}

/// What can be added to a session.
#[derive(Debug, Clone)]
pub enum Posted {
    /// The answer.
    Answer(String),
    /// A candidate, as JSON.
    Candidate(String),
}

/// What the other side has added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// The session.
    pub offer: Offer,
    /// Candidates of the other side in the order in which they came, each as JSON.
    pub candidates: Vec<String>,
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, GONE)
}

fn truthy(value: Option<&Value>) -> Option<&Value> {
    value.filter(|it| match it {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
    })
}

fn required<'a>(body: &'a Value, name: &str) -> Result<&'a str> {
    let text = body.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    text.ok_or_else(|| invalid(format!("Missing or invalid required parameter: {name}")))
}

fn check_description(name: &str, text: &str) -> Result<()> {
    match utf16_len(text) > MAX_SDP {
        true => Err(invalid(format!("{name} must be {MAX_SDP} characters or less"))),
        false => Ok(()),
    }
}

/// A topic may not be longer.
fn check_topic(topic: &str) -> Result<()> {
    match utf16_len(topic) > MAX_TOPIC {
        true => Err(invalid(format!("Topic string must be {MAX_TOPIC} characters or less"))),
        false => Ok(()),
    }
}

impl SessionDraft {
    /// Reads `{"info": ..., "offer": ..., "code": ...}`; `peerId` is another name of `info`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), with the text of the protocol.
    pub fn parse(topic: String, body: &Value) -> Result<Self> {
        check_topic(&topic)?;
        let newer = body.get("info").is_none() && body.get("peerId").is_some();
        let (name, shown) = if newer { ("peerId", "PeerId") } else { ("info", "Info") };
        let info = required(body, name)?;
        if utf16_len(info) > MAX_INFO {
            return Err(invalid(format!("{shown} string must be {MAX_INFO} characters or less")));
        }
        let offer = required(body, "offer")?;
        check_description("Offer", offer)?;
        let code = match truthy(body.get("code")) {
            None => None,
            Some(Value::String(code)) if utf16_len(code) <= MAX_OFFER_ID => Some(code.clone()),
            Some(_) => {
                let what = format!("Code must be a string of {MAX_OFFER_ID} characters or less");
                return Err(invalid(what));
            }
        };
        Ok(Self { topic, info: info.to_owned(), offer: offer.to_owned(), code })
    }
}

/// Reads `{"code": ..., "side": ...}`.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid), with the text of the protocol.
pub fn parse_side(body: &Value) -> Result<(String, Role)> {
    let code = required(body, "code")?.to_owned();
    let side = match body.get("side").and_then(Value::as_str) {
        Some("offerer") => Role::Offerer,
        Some("answerer") => Role::Answerer,
        Some(_) | None => {
            let what = "Invalid or missing parameter: side (must be \"offerer\" or \"answerer\")";
            return Err(invalid(what));
        }
    };
    Ok((code, side))
}

impl SessionPost {
    /// Reads `{"code": ..., "side": ..., "answer" or "candidate": ...}`. `candidate` is the candidate to the letter,
    /// where the caller kept it.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), with the text of the protocol.
    pub fn parse(body: &Value, candidate: Option<&str>) -> Result<Self> {
        let (code, side) = parse_side(body)?;
        let (answer, given) = (truthy(body.get("answer")), truthy(body.get("candidate")));
        let what = match (answer, given) {
            (None, None) => {
                return Err(invalid("Missing required parameter: answer or candidate"));
            }
            (Some(_), Some(_)) => {
                return Err(invalid("Cannot provide both answer and candidate"));
            }
            (Some(Value::String(text)), None) => Posted::Answer(text.clone()),
            (Some(Value::Number(number)), None) => Posted::Answer(number.to_string()),
            (Some(_), None) => {
                return Err(invalid("Missing or invalid required parameter: answer"));
            }
            (None, Some(value)) => {
                Posted::Candidate(candidate.map_or_else(|| value.to_string(), str::to_owned))
            }
        };
        match &what {
            Posted::Answer(answer) => check_description("Answer", answer)?,
            Posted::Candidate(candidate) if candidate.len() > MAX_CANDIDATE => {
                return Err(invalid(format!("Candidate must be {MAX_CANDIDATE} bytes or less")));
            }
            Posted::Candidate(candidate) if levels(candidate) > MAX_CANDIDATE_LEVELS => {
                return Err(invalid(format!(
                    "Candidate must have {MAX_CANDIDATE_LEVELS} levels of arrays and objects or less"
                )));
            }
            Posted::Candidate(_) => {}
        }
        Ok(Self { code, side, what })
    }
}

/// Who answers a session: nobody else has this name.
fn answerer(code: &str) -> String {
    format!("answerer {code}")
}

impl<'a> Sessions<'a> {
    pub(super) const fn new(context: &'a Context) -> Self {
        Self(context)
    }

    /// Topics of an origin that have sessions which nobody has answered, by name.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn topics(&self, origin: &str, offset: u64, limit: u32) -> Result<TopicPage> {
        let query = TopicQuery {
            realm: Realm::Origin(origin.to_owned()),
            prefix: String::new(),
            order: TopicOrder::Name,
            offset,
            limit,
            now: self.0.now(),
        };
        self.0.store.topics(query).await
    }

    /// Sessions of a topic that nobody has answered, newest first: the newest 1,000, or as many of them as make
    /// [`MAX_LIST_BYTES`].
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the topic is too long, and those of the store.
    pub async fn list(&self, origin: &str, topic: &str) -> Result<Vec<Session>> {
        check_topic(topic)?;
        let realm = Realm::Origin(origin.to_owned());
        let now = self.0.now();
        let (mut sessions, mut bytes) = (Vec::new(), 0);
        for offset in (0..MAX_LISTED).step_by(PAGE as usize) {
            let query = OfferQuery {
                realm: realm.clone(),
                topics: vec![topic.to_owned()],
                not_of: None,
                excluded: None,
                offset,
                limit: PAGE,
                now,
            };
            let OfferPage { offers, total: _ } = self.0.store.offers_by_topic(query).await?;
            let is_last = offers.len() < PAGE as usize;
            let whole = stream::iter(offers).map(async |offer| {
                let candidates = self.candidates(&realm, &offer.id, &offer.peer).await?;
                Ok::<_, Error>(Session { offer, candidates })
            });
            let mut whole = pin!(whole.buffered(READS));
            while let Some(session) = whole.next().await.transpose()? {
                let candidates = session.candidates.iter().map(String::len);
                bytes += session.offer.sdp.len() + candidates.sum::<usize>();
                if bytes > MAX_LIST_BYTES {
                    return Ok(sessions);
                }
                sessions.push(session);
            }
            if is_last {
                break;
            }
        }
        Ok(sessions)
    }

    async fn candidates(&self, realm: &Realm, code: &str, by: &str) -> Result<Vec<String>> {
        let candidates = self.0.store.candidates_of(realm, code, by, self.0.now()).await?;
        Ok(candidates.into_iter().map(|it| it.body).collect())
    }

    /// Opens a session. Answers its code.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) when the code is taken; [`Unavailable`](ErrorKind::Unavailable) when there
    /// are too many in all.
    pub async fn open(&self, origin: &str, draft: SessionDraft) -> Result<String> {
        let now = self.0.now();
        let SessionDraft { topic, info, offer, code } = draft;
        let code = code.unwrap_or_else(|| Uuid::new_v4().to_string());
        let new = NewOffer {
            id: code.clone(),
            sdp: offer.into(),
            topics: vec![topic],
            info: Some(info),
            secret: None,
            expires_at: now + self.0.settings.session_ttl,
        };
        let publish = Publish {
            realm: Realm::Origin(origin.to_owned()),
            // Nobody else knows it: a code that is there belongs to somebody else.
            peer: format!("offerer {} {code}", Uuid::new_v4()),
            offers: vec![new],
            now,
            quota: Quota { of_peer: u32::MAX, of_all: self.0.settings.max_offers },
        };
        match self.0.store.publish(publish).await? {
            PublishOutcome::Published(_) => Ok(code),
            PublishOutcome::Taken(code) => {
                let what = format!("Session code '{code}' already exists");
                Err(Error::new(ErrorKind::Conflict, what))
            }
            PublishOutcome::TooManyOfPeer | PublishOutcome::Full => Err(Error::new(
                ErrorKind::Unavailable,
                "Too many sessions on this server. Try again later",
            )),
        }
    }

    /// Adds what one side has to say.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`Invalid`](ErrorKind::Invalid) for a second answer, one of the offerer, or
    /// too many candidates.
    pub async fn post(&self, origin: &str, post: SessionPost) -> Result<()> {
        let realm = Realm::Origin(origin.to_owned());
        let SessionPost { code, side, what } = post;
        let offer = self.0.store.offer(&realm, &code, self.0.now()).await?.ok_or_else(gone)?;
        let by = match side {
            Role::Offerer => offer.peer,
            Role::Answerer => answerer(&code),
        };
        match what {
            Posted::Answer(_) if side == Role::Offerer => {
                Err(invalid("Only the answerer may answer"))
            }
            Posted::Answer(sdp) => {
                let answer = Answer {
                    realm,
                    id: code,
                    by,
                    sdp: sdp.into(),
                    matched_topics: None,
                    expires_at: None,
                    now: self.0.now(),
                };
                match self.0.store.answer(answer).await? {
                    AnswerOutcome::Answered(_) => Ok(()),
                    AnswerOutcome::NotFound => Err(gone()),
                    // Without a secret nothing is ever locked.
                    AnswerOutcome::AlreadyAnswered | AnswerOutcome::Locked => {
                        Err(invalid("Session already answered"))
                    }
                }
            }
            Posted::Candidate(body) => {
                let candidates = AddCandidates {
                    realm,
                    id: code,
                    by,
                    bodies: vec![body],
                    most_early: Some(MAX_CANDIDATES),
                    most: MAX_CANDIDATES,
                    now: self.0.now(),
                };
                match self.0.store.add_candidates(candidates).await? {
                    CandidatesAdded::Added { .. } => Ok(()),
                    CandidatesAdded::NotFound | CandidatesAdded::NotAllowed => Err(gone()),
                    CandidatesAdded::TooMany => {
                        let most = MAX_CANDIDATES;
                        Err(invalid(format!("Too many candidates. Maximum {most} per side")))
                    }
                }
            }
        }
    }

    /// What the other side has added.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn poll(&self, origin: &str, code: &str, side: Role) -> Result<Polled> {
        let realm = Realm::Origin(origin.to_owned());
        let offer = self.0.store.offer(&realm, code, self.0.now()).await?.ok_or_else(gone)?;
        let other = match side {
            Role::Offerer => answerer(code),
            Role::Answerer => offer.peer.clone(),
        };
        let candidates = self.candidates(&realm, code, &other).await?;
        Ok(Polled { offer, candidates })
    }

    /// Whose deliveries a side gets, for [`Feed::subscribe`](super::Feed::subscribe).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn recipient(&self, origin: &str, code: &str, side: Role) -> Result<String> {
        let realm = Realm::Origin(origin.to_owned());
        let offer = self.0.store.offer(&realm, code, self.0.now()).await?.ok_or_else(gone)?;
        Ok(match side {
            Role::Offerer => offer.peer,
            Role::Answerer => answerer(code),
        })
    }
}
