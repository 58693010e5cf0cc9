use std::collections::BTreeSet;

use serde_json::Value;

use super::error::{CallError, CallResult, RpcErrorCode};
use crate::rendezvous::utf16_len;

/// How many tags a call may name.
const MAX_TAGS: usize = 20;
/// How long a tag may be.
const MAX_TAG: usize = 64;

/// The tags of a call: at least one, each once.
pub(super) fn tags(value: Option<&Value>) -> CallResult<Vec<String>> {
    let invalid = |message: String| CallError::new(RpcErrorCode::InvalidTag, message);
    let Some(Value::Array(values)) = value else {
        return Err(invalid("Tags must be an array".to_owned()));
    };
    if values.is_empty() {
        return Err(invalid("At least one tag is required".to_owned()));
    }
    if values.len() > MAX_TAGS {
        return Err(invalid(format!("Maximum {MAX_TAGS} tags allowed")));
    }
    let mut tags = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let tag = tag(value).map_err(|what| invalid(format!("Tag {}: {what}", at + 1)))?;
        tags.push(tag.to_owned());
    }
    if tags.iter().collect::<BTreeSet<_>>().len() < tags.len() {
        return Err(invalid("Duplicate tags are not allowed".to_owned()));
    }
    Ok(tags)
}

fn tag(value: &Value) -> Result<&str, String> {
    let tag = value.as_str().ok_or("Tag must be a string")?;
    let is_alphanumeric = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    let is_inner = |it: &u8| is_alphanumeric(it) || matches!(it, b'.' | b'-');
    match tag.as_bytes() {
        [] => Err("Tag must be at least 1 character".to_owned()),
        _ if utf16_len(tag) > MAX_TAG => Err(format!("Tag must be at most {MAX_TAG} characters")),
        [one] if is_alphanumeric(one) => Ok(tag),
        [_] => Err("Tag must be lowercase alphanumeric".to_owned()),
        [first, inner @ .., last]
            if is_alphanumeric(first) && is_alphanumeric(last) && inner.iter().all(is_inner) =>
        {
            Ok(tag)
        }
        _ => {
            let what = "Tag must be lowercase alphanumeric with optional dots/dashes, and start/end with alphanumeric";
            Err(what.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_lower_case_letters_digits_and_inner_dots_and_dashes() {
        let longest = "a".repeat(MAX_TAG);
        for good in ["a", "7", "a.b-c", "a--b", "chat.room-1", &longest] {
            assert_eq!(tags(Some(&json!([good]))).unwrap(), [good]);
        }
        let numbered: Vec<_> = (0..MAX_TAGS).map(|it| format!("t{it}")).collect();
        assert_eq!(tags(Some(&json!(numbered))).unwrap(), numbered);
    }

    #[test]
    fn what_is_wrong_with_tags_is_said() {
        let many: Vec<_> = (0..=MAX_TAGS).map(|it| format!("t{it}")).collect();
        let form = "Tag 1: Tag must be lowercase alphanumeric with optional dots/dashes, and start/end with alphanumeric";
        for (given, wanted) in [
            (json!("a"), "Tags must be an array"),
            (json!(null), "Tags must be an array"),
            (json!([]), "At least one tag is required"),
            (json!(many), "Maximum 20 tags allowed"),
            (json!(["a", 1]), "Tag 2: Tag must be a string"),
            (json!([""]), "Tag 1: Tag must be at least 1 character"),
            (json!(["a".repeat(65)]), "Tag 1: Tag must be at most 64 characters"),
            (json!(["😀".repeat(33)]), "Tag 1: Tag must be at most 64 characters"),
            (json!(["A"]), "Tag 1: Tag must be lowercase alphanumeric"),
            (json!(["-a"]), form),
            (json!(["a."]), form),
            (json!(["a b"]), form),
            (json!(["a\n"]), form),
            (json!(["é"]), form),
            (json!(["a", "b", "a"]), "Duplicate tags are not allowed"),
        ] {
            let error = tags(Some(&given)).unwrap_err();
            assert_eq!((error.code, &*error.message), (RpcErrorCode::InvalidTag, wanted));
        }
        assert_eq!(tags(None).unwrap_err().message, "Tags must be an array");
    }
}
