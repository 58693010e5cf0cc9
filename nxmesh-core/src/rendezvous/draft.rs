//! Offers as a peer sends them, and what makes them valid. The texts are those of the protocol.

use serde_json::Value;

use super::{
    Millis, RendezvousSettings,
    settings::{MAX_INFO, MAX_OFFER_ID, MAX_SDP, MAX_SECRET, MAX_TOPIC},
    utf16_len,
};
use crate::{Error, ErrorKind, Result, Secret};

/// An offer that a peer would like to make.
#[derive(Debug, Clone)]
pub struct OfferDraft {
    /// The session description, 65,536 UTF-16 code units at most.
    pub sdp: String,
    /// Under which topics it is found: one at least, each of 1 to 256 UTF-16 code units.
    pub topics: Vec<String>,
    /// For how long it should live, in milliseconds.
    pub ttl: Option<Millis>,
    /// What an answer needs to know, 128 UTF-16 code units at most; none, if empty.
    pub secret: Option<Secret<String>>,
    /// What everybody may read about it, 128 UTF-16 code units at most.
    pub info: Option<String>,
    /// Its name, 128 UTF-16 code units at most; the hash of what it says, if not given.
    pub id: Option<String>,
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl OfferDraft {
    /// Reads `{"offers": [...]}`. The first mistake refuses all.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), with the text of the protocol.
    pub fn parse_all(body: &Value, settings: &RendezvousSettings) -> Result<Vec<Self>> {
        let offers = body.get("offers").and_then(Value::as_array).filter(|it| !it.is_empty());
        let missing = "Missing or invalid required parameter: offers (must be non-empty array)";
        let offers = offers.ok_or_else(|| invalid(missing))?;
        let most = settings.max_offers_per_request;
        if offers.len() > most {
            return Err(invalid(format!("Too many offers. Maximum {most} per request")));
        }
        offers.iter().map(|it| Self::parse(it, settings)).collect()
    }

    fn parse(body: &Value, settings: &RendezvousSettings) -> Result<Self> {
        let sdp = sdp(body, "Each offer must have an sdp field")?;
        let secret = text(body, "secret", "Secret", MAX_SECRET)?;
        let info = text(body, "info", "Info", MAX_INFO)?;
        let topics = body.get("topics").and_then(Value::as_array).filter(|it| !it.is_empty());
        let missing = "Each offer must have a non-empty topics array";
        let topics = topics.ok_or_else(|| invalid(missing))?;
        let most = settings.max_topics_per_offer;
        if topics.len() > most {
            return Err(invalid(format!("Too many topics. Maximum {most} per offer")));
        }
        let topics = topics.iter().map(topic).collect::<Result<_>>()?;
        let id = body.get("id").and_then(Value::as_str);
        let id = id.filter(|it| !it.is_empty() && utf16_len(it) <= MAX_OFFER_ID);
        Ok(Self {
            sdp,
            topics,
            ttl: ttl(body.get("ttl"))?,
            secret: secret.filter(|it| !it.is_empty()).map(Secret::new),
            info,
            id: id.map(str::to_owned),
        })
    }
}

/// A session description that must be there.
pub(super) fn sdp(body: &Value, missing: &str) -> Result<String> {
    let sdp = body.get("sdp").and_then(Value::as_str).filter(|it| !it.is_empty());
    let sdp = sdp.ok_or_else(|| invalid(missing))?;
    if utf16_len(sdp) > MAX_SDP {
        return Err(invalid("SDP must be 64KB or less"));
    }
    Ok(sdp.to_owned())
}

/// A text that may be there.
fn text(body: &Value, name: &str, shown: &str, most: usize) -> Result<Option<String>> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| invalid(format!("{shown} must be a string")))?;
    if utf16_len(text) > most {
        return Err(invalid(format!("{shown} must be {most} characters or less")));
    }
    Ok(Some(text.to_owned()))
}

fn topic(value: &Value) -> Result<String> {
    let topic = value.as_str().filter(|it| !it.is_empty() && utf16_len(it) <= MAX_TOPIC);
    let bad = "Each topic must be a string between 1 and 256 characters";
    topic.map(str::to_owned).ok_or_else(|| invalid(bad))
}

/// A number, or a text that is one. Fractions are cut off.
fn ttl(value: Option<&Value>) -> Result<Option<Millis>> {
    let bad = || invalid("TTL must be a number");
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64().ok_or_else(bad)?,
        Some(Value::String(text)) => {
            let number = text.trim().parse::<f64>().ok().filter(|it| it.is_finite());
            number.ok_or_else(bad)?
        }
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => return Err(bad()),
    };
    // Beyond what a number can hold it is the largest or the smallest: both are clamped later.
    Ok(Some(number.floor() as Millis))
}

/// The secret of an answer: a text, if it is there at all.
pub(super) fn answer_secret(body: &Value) -> Result<Option<Secret<String>>> {
    let Some(value) = body.get("secret") else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| invalid("Secret must be a string"))?;
    Ok(Some(Secret::new(text.to_owned())))
}
