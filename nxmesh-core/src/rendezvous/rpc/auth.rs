use serde_json::{Map, Value};
use uuid::{Uuid, Variant};

use super::{
    call::Call,
    error::{CallError, CallResult, RpcErrorCode},
    limits::MAX_SKEW,
};
use crate::{
    Result,
    rendezvous::{
        Millis, Nonce, PublicKey, canonical::canonical_with_undefined, canonical_json, utf16_len,
        verify,
    },
};

/// What older clients, who make one call a request, prove themselves by: headers.
#[derive(Debug, Clone, Default)]
pub struct RpcHeaders {
    /// `X-PublicKey`.
    pub public_key: Option<String>,
    /// `X-Timestamp`.
    pub timestamp: Option<String>,
    /// `X-Nonce`.
    pub nonce: Option<String>,
    /// `X-Signature`.
    pub signature: Option<String>,
}

/// What a caller says of themselves, if they need not prove it.
pub(super) fn unverified_key(call: &Call<'_>, headers: &RpcHeaders) -> Option<String> {
    text(&call.auth, "publicKey", headers.public_key.as_deref()).map(str::to_owned)
}

/// Whose call this is, by a nonce that is still to be used.
pub(super) fn authenticate(
    call: &Call<'_>,
    method: &str,
    headers: &RpcHeaders,
    now: Millis,
) -> CallResult<Nonce> {
    let key = text(&call.auth, "publicKey", headers.public_key.as_deref());
    let key = key.ok_or_else(|| missing("publicKey", "X-PublicKey"))?;
    let timestamp = timestamp(&call.auth, headers.timestamp.as_deref());
    let timestamp = timestamp.ok_or_else(|| missing("timestamp", "X-Timestamp"))?;
    let nonce = text(&call.auth, "nonce", headers.nonce.as_deref());
    let nonce = nonce.ok_or_else(|| missing("nonce", "X-Nonce"))?;
    let signature = text(&call.auth, "signature", headers.signature.as_deref());
    let signature = signature.ok_or_else(|| missing("signature", "X-Signature"))?;

    let ahead = timestamp - now as f64;
    if -ahead > MAX_SKEW as f64 {
        return Err(CallError::params("Timestamp too old"));
    }
    if ahead > MAX_SKEW as f64 {
        return Err(CallError::params("Timestamp too far in future"));
    }
    let key = public_key(key)?;
    let id = uuid_v4(nonce).ok_or_else(|| {
        CallError::params("Nonce must be a valid UUID v4 (use crypto.randomUUID())")
    })?;
    let mut buffer = ryu_js::Buffer::new();
    let signed = format!("{}:{nonce}:{method}:", buffer.format(timestamp));
    let too_deep = |_| CallError::params("Object nesting too deep for canonicalization");
    let params = canonical(&call.params).map_err(too_deep)?;
    let is_signed = verify(&key, &format!("{signed}{params}"), signature)
        || undefined(method, &call.params)
            .is_some_and(|params| verify(&key, &format!("{signed}{params}"), signature));
    if !is_signed {
        return Err(CallError::new(RpcErrorCode::InvalidCredentials, "Invalid signature"));
    }
    // Longer than the signature is good for: by clocks of other servers too, and by this one a moment later.
    Ok(Nonce { key, nonce: id, expires_at: timestamp.ceil() as Millis + 2 * MAX_SKEW })
}

fn missing(field: &str, header: &str) -> CallError {
    let message =
        format!("Missing or invalid {field} (provide in request.auth or {header} header)");
    CallError::new(RpcErrorCode::AuthRequired, message)
}

fn text<'a>(auth: &'a Map<String, Value>, name: &str, header: Option<&'a str>) -> Option<&'a str> {
    let given = match auth.get(name) {
        None | Some(Value::Null) => header,
        Some(value) => value.as_str(),
    };
    given.filter(|it| !it.is_empty())
}

fn timestamp(auth: &Map<String, Value>, header: Option<&str>) -> Option<f64> {
    let given = match auth.get("timestamp") {
        None | Some(Value::Null) => {
            header.and_then(|it| it.trim().parse::<i64>().ok()).map(|it| it as f64)
        }
        Some(value) => value.as_f64(),
    };
    given.filter(|it| *it != 0.0)
}

fn public_key(text: &str) -> CallResult<PublicKey> {
    PublicKey::parse(text).map_err(|_| {
        let is_digit = |it: &char| matches!(it, '0'..='9' | 'a'..='f');
        let odd = text.chars().enumerate().find(|(_, it)| !is_digit(it));
        let what = match odd.filter(|_| utf16_len(text) == 64) {
            Some((at, odd)) => {
                format!("Invalid hex character at position {at}: '{odd}' (use lowercase hex)")
            }
            None => "Public key must be 64 hex characters (32 bytes)".to_owned(),
        };
        CallError::new(RpcErrorCode::InvalidPublicKey, what)
    })
}

/// A UUID of version 4 in its usual form, in letters of either case.
fn uuid_v4(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36)?;
    (id.get_version_num() == 4 && id.get_variant() == Variant::RFC4122).then_some(id)
}

/// What is signed of the parameters. Whatever JavaScript takes for false stands for none.
fn canonical(params: &Value) -> Result<String> {
    let is_false = match params {
        Value::Null => true,
        Value::Bool(it) => !it,
        Value::Number(it) => it.as_f64() == Some(0.0),
        Value::String(it) => it.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    };
    if is_false { Ok("{}".to_owned()) } else { canonical_json(params) }
}

/// What clients sign who leave an optional parameter out, but write it into what they sign as
/// `undefined`. The meaning is the same.
fn undefined(method: &str, params: &Value) -> Option<String> {
    let optional = match method {
        "publishOffer" => "ttl",
        "answerOffer" => "matchedTags",
        "poll" => "since",
        _ => return None,
    };
    let members = params.as_object().filter(|it| !it.contains_key(optional))?;
    canonical_with_undefined(members, optional).ok()
}
