use serde_json::value::RawValue;

use super::{
    auth::{self, RpcHeaders},
    call::{Call, Unreadable},
    error::{CallError, CallResult, RpcErrorCode},
    limits::{MAX_CALLS, MAX_OPERATIONS, MAX_VALUES},
    operation::{CountOffersByTags, Discover, Method, Operation, Signed},
    params::Params,
};
use crate::rendezvous::{Millis, Nonce};

/// A batch whose calls were read, none of which has been done.
#[derive(Debug)]
pub(super) enum Batch {
    /// It is to be answered so, as a whole.
    Refused { error: CallError, is_too_large: bool },
    /// Each of its calls is to be answered so.
    AllFail { error: CallError, calls: usize },
    /// These are to be done, in this order.
    Calls(Vec<Prepared>),
}

/// What a batch is read by.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// What the clock shows.
    pub(super) now: Millis,
    /// How many offers a call may make.
    pub(super) max_offers: usize,
    /// Why none of the calls is to be done, if there is such a reason.
    pub(super) refused: Option<CallError>,
}

/// A call that was read.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What must not have been used before.
    pub(super) nonce: Option<Nonce>,
    /// What is to be done then.
    pub(super) operation: CallResult<Operation>,
}

impl Batch {
    /// Reads the text of a batch, and checks whose calls these are.
    pub(super) fn read(text: &[u8], headers: &RpcHeaders, terms: &Terms) -> Self {
        let entries = match entries(text) {
            Ok(entries) => entries,
            Err((error, is_too_large)) => return Self::Refused { error, is_too_large },
        };
        if let Some(error) = terms.refused.clone() {
            return Self::AllFail { error, calls: entries.len() };
        }
        let calls: Vec<_> = match entries.iter().map(|it| Call::read(it)).collect() {
            Ok(calls) => calls,
            Err(why) => return Self::Refused { error: unreadable(why), is_too_large: false },
        };
        let operations: usize = calls.iter().map(Call::operations).sum();
        if operations > MAX_OPERATIONS {
            let what = format!(
                "Total operations across batch exceed limit: {operations} > {MAX_OPERATIONS}"
            );
            let error = CallError::new(RpcErrorCode::BatchTooLarge, what);
            return Self::AllFail { error, calls: calls.len() };
        }
        Self::Calls(calls.iter().map(|call| Prepared::of(call, headers, terms)).collect())
    }
}

/// The entries of a batch, which is a list of at least one; else why not, and whether that is because it is too large.
fn entries(text: &[u8]) -> Result<Vec<&RawValue>, (CallError, bool)> {
    let invalid = |what: &'static str| (CallError::params(what), false);
    let too_large = |what: String| (CallError::new(RpcErrorCode::BatchTooLarge, what), true);
    if values(text) > MAX_VALUES {
        return Err(too_large(format!("Too many values in request (max {MAX_VALUES})")));
    }
    let raw: &RawValue =
        serde_json::from_slice(text).map_err(|_| invalid("Invalid JSON in request body"))?;
    if !raw.get().starts_with('[') {
        return Err(invalid("Request must be an array of RPC calls"));
    }
    let entries: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|_| invalid("Invalid JSON in request body"))?;
    if entries.is_empty() {
        return Err(invalid("Empty request array"));
    }
    if entries.len() > MAX_CALLS {
        return Err(too_large(format!("Too many requests in batch (max {MAX_CALLS})")));
    }
    Ok(entries)
}

/// How many values the text of JSON has, at most: one before each comma, and one in all brackets.
fn values(text: &[u8]) -> usize {
    let (mut values, mut in_text, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    values
}

fn unreadable(why: Unreadable) -> CallError {
    CallError::params(match why {
        Unreadable::Null => "Request must be valid JSON array",
        Unreadable::Malformed => "Invalid JSON in request body",
    })
}

impl Prepared {
    fn of(call: &Call<'_>, headers: &RpcHeaders, terms: &Terms) -> Self {
        match Self::read(call, headers, terms) {
            Ok(prepared) => prepared,
            Err(error) => Self { nonce: None, operation: Err(error) },
        }
    }

    fn read(call: &Call<'_>, headers: &RpcHeaders, terms: &Terms) -> CallResult<Self> {
        let name = call.method.as_deref();
        let name = name.ok_or_else(|| CallError::params("Missing or invalid method"))?;
        let params = Params::of(call);
        Ok(match Method::parse(name)? {
            Method::Discover => {
                let not_of = auth::unverified_key(call, headers);
                let operation = Discover::parse(&params, not_of).map(Operation::Discover);
                Self { nonce: None, operation }
            }
            Method::CountOffersByTags => {
                let not_of = auth::unverified_key(call, headers);
                let operation = CountOffersByTags::parse(&params, not_of);
                Self { nonce: None, operation: operation.map(Operation::CountOffersByTags) }
            }
            Method::Signed(method) => {
                let nonce = auth::authenticate(call, name, headers, terms.now)?;
                let by = nonce.key.clone();
                let what = Signed::parse(method, &params, terms.max_offers);
                Self {
                    nonce: Some(nonce),
                    operation: what.map(|what| Operation::Signed { by, what }),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn read(text: &[u8]) -> Batch {
        let terms = Terms { now: 0, max_offers: 100, refused: None };
        Batch::read(text, &RpcHeaders::default(), &terms)
    }

    fn count(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
            Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        }
    }

    #[test]
    fn values_are_counted_outside_of_texts() {
        for (text, wanted) in
            [("1", 1), ("[1,2]", 3), (r#"{"a":[{},[]],"b":",[{\\\",["}"#, 7), (r#"["\\","a"]"#, 3)]
        {
            assert_eq!(values(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn who_must_not_call_is_told_so_for_each_call() {
        let error = CallError::params("later");
        let terms = Terms { now: 0, max_offers: 100, refused: Some(error) };
        let read = |text: &str| Batch::read(text.as_bytes(), &RpcHeaders::default(), &terms);
        assert!(matches!(read("[1,null]"), Batch::AllFail { calls: 2, .. }));
        assert!(matches!(read("[]"), Batch::Refused { .. }));
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf =
            "null|true|-?(0|[1-9][0-9]{0,2})(\\.[0-9]{1,3})?|\"[a-z,\\[{]{0,6}\"|\"\\\\\\\\\"";
        leaf.prop_map(String::from).prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5)
                    .prop_map(|it| format!("[{}]", it.join(","))),
                proptest::collection::vec(("[a-z]{0,3}", inner), 0..5).prop_map(|it| {
                    let members: Vec<_> =
                        it.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn there_are_never_more_values_than_were_counted(text in json()) {
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert!(values(text.as_bytes()) >= count(&value), "{}", text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in json()) {
            read(&bytes);
            read(format!("[{text}]").as_bytes());
            let call = format!(r#"[{{"method":"discover","params":{text},"auth":{text}}}]"#);
            let Batch::Calls(calls) = read(call.as_bytes()) else { panic!("{call}") };
            prop_assert_eq!(calls.len(), 1);
        }
    }
}
