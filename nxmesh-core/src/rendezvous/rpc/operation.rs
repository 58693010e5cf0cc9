use std::sync::Arc;

use super::{
    error::{CallError, CallResult, RpcErrorCode},
    limits::{MAX_OFFSET, MAX_PAGE},
    params::Params,
    tags::tags,
};
use crate::rendezvous::{Millis, PublicKey};

/// A method of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Discover,
    CountOffersByTags,
    Signed(SignedMethod),
}

/// A method whose caller proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignedMethod {
    PublishOffer,
    DeleteOffer,
    UpdateOfferTags,
    AnswerOffer,
    GetOfferAnswer,
    Poll,
    AddIceCandidates,
    GetIceCandidates,
}

/// A call that is valid, and whose caller is known.
#[derive(Debug, PartialEq)]
pub(super) enum Operation {
    Discover(Discover),
    CountOffersByTags(CountOffersByTags),
    Signed { by: PublicKey, what: Signed },
}

/// What a caller who is known asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Signed {
    PublishOffer(PublishOffer),
    DeleteOffer { id: String },
    UpdateOfferTags { tags: Vec<String> },
    AnswerOffer(AnswerOffer),
    GetOfferAnswer { id: String },
    Poll { since: Millis },
    AddIceCandidates { id: String, candidates: Vec<String> },
    GetIceCandidates { id: String, since: Millis },
}

#[derive(Debug, PartialEq)]
pub(super) struct Discover {
    pub(super) tags: Vec<String>,
    /// Offers of this key are not looked for; nobody proved that it is theirs.
    pub(super) not_of: Option<String>,
    pub(super) which: Which,
}

/// Which of the offers that are found.
#[derive(Debug, PartialEq)]
pub(super) enum Which {
    Page { limit: u32, offset: u32 },
    Random,
}

#[derive(Debug, PartialEq)]
pub(super) struct CountOffersByTags {
    pub(super) tags: Vec<String>,
    /// Offers of this key do not count; nobody proved that it is theirs.
    pub(super) not_of: Option<String>,
    pub(super) what: Count,
}

#[derive(Debug, PartialEq)]
pub(super) enum Count {
    Offers,
    Keys,
}

#[derive(Debug, PartialEq)]
pub(super) struct PublishOffer {
    pub(super) tags: Vec<String>,
    pub(super) sdps: Vec<Arc<str>>,
    /// In milliseconds, as it was asked for.
    pub(super) ttl: Option<f64>,
}

#[derive(Debug, PartialEq)]
pub(super) struct AnswerOffer {
    pub(super) id: String,
    pub(super) sdp: Arc<str>,
    /// Each once.
    pub(super) matched_tags: Option<Vec<String>>,
}

impl Method {
    pub(super) fn parse(name: &str) -> CallResult<Self> {
        Ok(match name {
            "discover" => Self::Discover,
            "countOffersByTags" => Self::CountOffersByTags,
            "publishOffer" => Self::Signed(SignedMethod::PublishOffer),
            "deleteOffer" => Self::Signed(SignedMethod::DeleteOffer),
            "updateOfferTags" => Self::Signed(SignedMethod::UpdateOfferTags),
            "answerOffer" => Self::Signed(SignedMethod::AnswerOffer),
            "getOfferAnswer" => Self::Signed(SignedMethod::GetOfferAnswer),
            "poll" => Self::Signed(SignedMethod::Poll),
            "addIceCandidates" => Self::Signed(SignedMethod::AddIceCandidates),
            "getIceCandidates" => Self::Signed(SignedMethod::GetIceCandidates),
            _ => {
                let name: String = name.chars().take(64).collect();
                let what = format!("Unknown method: {name}");
                return Err(CallError::new(RpcErrorCode::UnknownMethod, what));
            }
        })
    }
}

impl Signed {
    pub(super) fn parse(
        method: SignedMethod,
        params: &Params<'_>,
        max_offers: usize,
    ) -> CallResult<Self> {
        Ok(match method {
            SignedMethod::PublishOffer => {
                Self::PublishOffer(PublishOffer::parse(params, max_offers)?)
            }
            SignedMethod::DeleteOffer => Self::DeleteOffer { id: params.offer_id()? },
            SignedMethod::UpdateOfferTags => {
                Self::UpdateOfferTags { tags: tags(params.get("tags"))? }
            }
            SignedMethod::AnswerOffer => Self::AnswerOffer(AnswerOffer::parse(params)?),
            SignedMethod::GetOfferAnswer => Self::GetOfferAnswer { id: params.offer_id()? },
            SignedMethod::Poll => Self::Poll { since: params.since()? },
            SignedMethod::AddIceCandidates => {
                let id = params.offer_id()?;
                Self::AddIceCandidates { id, candidates: params.candidates()? }
            }
            SignedMethod::GetIceCandidates => {
                let id = params.offer_id()?;
                Self::GetIceCandidates { id, since: params.since()? }
            }
        })
    }
}

impl Discover {
    pub(super) fn parse(params: &Params<'_>, not_of: Option<String>) -> CallResult<Self> {
        let tags = tags(params.get("tags"))?;
        let which = match params.count("limit")? {
            None => Which::Random,
            Some(limit) => {
                let offset = params.count("offset")?.unwrap_or(0);
                if offset > MAX_OFFSET {
                    let what = format!("offset must be {MAX_OFFSET} or less");
                    return Err(CallError::params(what));
                }
                Which::Page { limit: limit.clamp(1, MAX_PAGE), offset }
            }
        };
        Ok(Self { tags, not_of, which })
    }
}

impl CountOffersByTags {
    pub(super) fn parse(params: &Params<'_>, not_of: Option<String>) -> CallResult<Self> {
        let tags = tags(params.get("tags"))?;
        let is_unique = params.get("unique").and_then(serde_json::Value::as_bool);
        let what = if is_unique == Some(true) { Count::Keys } else { Count::Offers };
        Ok(Self { tags, not_of, what })
    }
}

impl PublishOffer {
    fn parse(params: &Params<'_>, max_offers: usize) -> CallResult<Self> {
        let tags = tags(params.get("tags"))?;
        let offers = params.get("offers").and_then(serde_json::Value::as_array);
        let offers = offers.filter(|it| !it.is_empty()).ok_or_else(|| {
            CallError::new(RpcErrorCode::MissingParams, "Must provide at least one offer")
        })?;
        if offers.len() > max_offers {
            let what = format!("Too many offers (max {max_offers})");
            return Err(CallError::new(RpcErrorCode::TooManyOffers, what));
        }
        let sdps = offers.iter().enumerate().map(|(at, offer)| params.sdp_of(at, offer));
        let sdps = sdps.collect::<CallResult<_>>()?;
        Ok(Self { tags, sdps, ttl: params.ttl()? })
    }
}

impl AnswerOffer {
    fn parse(params: &Params<'_>) -> CallResult<Self> {
        let id = params.offer_id()?;
        let sdp = params.sdp()?;
        Ok(Self { id, sdp, matched_tags: params.matched_tags()? })
    }
}
