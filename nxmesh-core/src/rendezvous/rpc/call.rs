use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};

use super::limits::OPERATIONS_OF_RETAG;

/// One call of a batch as it was sent: what of it is a call, and what is not.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    /// `None` when it is no text, or an empty one.
    pub(super) method: Option<String>,
    /// `Null` when they were not given.
    pub(super) params: Value,
    /// The same, to the letter.
    pub(super) raw: Option<&'a RawValue>,
    /// What is not given here is looked for in the headers.
    pub(super) auth: Map<String, Value>,
}

/// Why an entry of a batch spoils all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is `null`.
    Null,
    /// It is no JSON, or none that can be read.
    Malformed,
}

impl<'a> Call<'a> {
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, Unreadable> {
        let text = raw.get();
        if text == "null" {
            return Err(Unreadable::Null);
        }
        if !text.starts_with('{') {
            return value(raw).map(|_| Self::default());
        }
        let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(text);
        let mut members = members.map_err(|_| Unreadable::Malformed)?;
        let (method, auth) = (members.remove("method"), members.remove("auth"));
        let params = members.remove("params");
        let method = match method.map(value).transpose()? {
            Some(Value::String(method)) if !method.is_empty() => Some(method),
            _ => None,
        };
        let auth = match auth.map(value).transpose()? {
            Some(Value::Object(auth)) => auth,
            _ => Map::new(),
        };
        let parsed = params.map(value).transpose()?.unwrap_or_default();
        Ok(Self { method, params: parsed, raw: params, auth })
    }

    /// How much of what a batch may ask for this asks for.
    pub(super) fn operations(&self) -> usize {
        let many = match self.method.as_deref() {
            Some("publishOffer") => self.params.get("offers"),
            Some("addIceCandidates") => self.params.get("candidates"),
            Some("updateOfferTags") => return OPERATIONS_OF_RETAG,
            _ => None,
        };
        many.and_then(Value::as_array).map_or(1, Vec::len)
    }
}

fn value(raw: &RawValue) -> Result<Value, Unreadable> {
    serde_json::from_str(raw.get()).map_err(|_| Unreadable::Malformed)
}
