use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, value::RawValue};

use super::{
    call::Call,
    error::{CallError, CallResult, RpcErrorCode},
    limits::MAX_CANDIDATE_DEPTH,
};
use crate::rendezvous::{MAX_CANDIDATE, MAX_CANDIDATES_PER_REQUEST, MAX_SDP, Millis, utf16_len};

/// The parameters of a call: the members of an object. Of anything else there are none.
pub(super) struct Params<'a> {
    members: Option<&'a Map<String, Value>>,
    raw: Option<&'a RawValue>,
}

impl<'a> Params<'a> {
    pub(super) fn of(call: &'a Call<'_>) -> Self {
        Self { members: call.params.as_object(), raw: call.raw }
    }

    /// A parameter; `None` if it is not there, which `null` is.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members?.get(name)
    }

    pub(super) fn offer_id(&self) -> CallResult<String> {
        match self.get("offerId") {
            Some(Value::String(id)) if !id.is_empty() => Ok(id.clone()),
            _ => Err(CallError::params("offerId must be a non-empty string")),
        }
    }

    /// A whole number from 0; more than fits is the most that does.
    pub(super) fn count(&self, name: &str) -> CallResult<Option<u32>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|it| *it >= 0.0 && it.fract() == 0.0);
        let bad = || CallError::params(format!("{name} must be a non-negative integer"));
        number.map(|it| Some(it as u32)).ok_or_else(bad)
    }

    /// After which stamp; a part of a millisecond makes no difference.
    pub(super) fn since(&self) -> CallResult<Millis> {
        let bad = "Invalid since parameter: must be a non-negative number";
        Ok(self.non_negative("since", bad)?.unwrap_or(0.0) as Millis)
    }

    pub(super) fn ttl(&self) -> CallResult<Option<f64>> {
        self.non_negative("ttl", "TTL must be a non-negative number")
    }

    fn non_negative(&self, name: &str, bad: &'static str) -> CallResult<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|it| *it >= 0.0);
        number.map(Some).ok_or_else(|| CallError::params(bad))
    }

    /// The session description of one of the offers of a call.
    pub(super) fn sdp_of(&self, at: usize, offer: &Value) -> CallResult<Arc<str>> {
        if !(offer.is_object() || offer.is_array()) {
            let what = format!("Invalid offer at index {at}: must be an object");
            return Err(CallError::params(what));
        }
        let invalid = |what: &str| {
            let what = format!("Invalid offer at index {at}: {what}");
            CallError::new(RpcErrorCode::InvalidSdp, what)
        };
        let sdp = offer.get("sdp").and_then(Value::as_str).filter(|it| !it.is_empty());
        let sdp = sdp.ok_or_else(|| invalid("missing or invalid SDP"))?;
        if sdp.trim().is_empty() {
            return Err(invalid("SDP cannot be empty"));
        }
        if utf16_len(sdp) > MAX_SDP {
            let what = format!("SDP too large at index {at} (max {MAX_SDP} bytes)");
            return Err(CallError::new(RpcErrorCode::SdpTooLarge, what));
        }
        Ok(sdp.into())
    }

    /// The session description of an answer.
    pub(super) fn sdp(&self) -> CallResult<Arc<str>> {
        let sdp = self.get("sdp").and_then(Value::as_str).filter(|it| !it.is_empty());
        let sdp = sdp.ok_or_else(|| CallError::new(RpcErrorCode::InvalidSdp, "Invalid SDP"))?;
        if utf16_len(sdp) > MAX_SDP {
            let what = format!("SDP too large (max {MAX_SDP} bytes)");
            return Err(CallError::new(RpcErrorCode::SdpTooLarge, what));
        }
        Ok(sdp.into())
    }

    /// Each once. Whether the offer has them is not known here.
    pub(super) fn matched_tags(&self) -> CallResult<Option<Vec<String>>> {
        let Some(value) = self.get("matchedTags") else { return Ok(None) };
        let values = value.as_array();
        let values = values.ok_or_else(|| CallError::params("matchedTags must be an array"))?;
        let mut tags: Vec<String> = Vec::new();
        for value in values {
            let tag = value.as_str();
            let tag =
                tag.ok_or_else(|| CallError::params("matchedTags must be an array of strings"))?;
            if !tags.iter().any(|it| it == tag) {
                tags.push(tag.to_owned());
            }
        }
        Ok(Some(tags))
    }

    /// The candidates of a call, each to the letter.
    pub(super) fn candidates(&self) -> CallResult<Vec<String>> {
        let missing = || {
            let what = "Missing or invalid required parameter: candidates";
            CallError::new(RpcErrorCode::MissingParams, what)
        };
        let values = self.get("candidates").and_then(Value::as_array);
        let values = values.filter(|it| !it.is_empty()).ok_or_else(missing)?;
        if values.len() > MAX_CANDIDATES_PER_REQUEST {
            return Err(CallError::params(format!(
                "Too many candidates (max {MAX_CANDIDATES_PER_REQUEST})"
            )));
        }
        let texts = self.texts("candidates").ok_or_else(missing)?;
        values.iter().zip(texts).enumerate().map(|(at, it)| candidate(at, it.0, it.1)).collect()
    }

    /// The items of a list, to the letter.
    fn texts(&self, name: &str) -> Option<Vec<&'a str>> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(self.raw?.get()).ok()?;
        let items: Vec<&RawValue> = serde_json::from_str(members.get(name)?.get()).ok()?;
        Some(items.into_iter().map(RawValue::get).collect())
    }
}

fn candidate(at: usize, value: &Value, text: &str) -> CallResult<String> {
    if !(value.is_object() || value.is_array()) {
        let what = format!("Invalid candidate at index {at}: must be an object");
        return Err(CallError::params(what));
    }
    if depth(value) > MAX_CANDIDATE_DEPTH {
        let what =
            format!("Candidate at index {at} too deeply nested (max depth {MAX_CANDIDATE_DEPTH})");
        return Err(CallError::params(what));
    }
    if utf16_len(text) > MAX_CANDIDATE {
        let what = format!("Candidate at index {at} too large (max {MAX_CANDIDATE} bytes)");
        return Err(CallError::params(what));
    }
    Ok(text.to_owned())
}

/// How many arrays and objects are around the innermost value. What was parsed has a limit to that.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|it| 1 + depth(it)).max().unwrap_or(0),
        Value::Object(members) => members.values().map(|it| 1 + depth(it)).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
