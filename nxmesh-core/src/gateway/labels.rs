//! Labels, by the rules of Kubernetes.
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>

use std::collections::BTreeMap;

use crate::{FieldCode, Malformed, Path, Problems};

/// Labels, by key.
pub type Labels = BTreeMap<String, String>;

/// How many labels an agent may have.
pub const MAX_LABELS: usize = 64;
/// The longest name or value of a label, in bytes.
pub const MAX_LABEL_BYTES: usize = 63;

/// Takes labels that are well formed, and notes those that are not.
pub(crate) fn parse(labels: Labels, path: &Path<'_>, problems: &mut Problems) -> Labels {
    if labels.len() > MAX_LABELS {
        problems.add(path, FieldCode::OutOfRange, format!("must be {MAX_LABELS} at most"));
    }
    for (key, value) in &labels {
        let at = path.field(key);
        problems.take(&at, check_key(key));
        problems.take(&at, check_value(value));
    }
    labels
}

/// `[prefix/]name`: a DNS subdomain of 253 characters, a name of 63.
pub(crate) fn check_key(key: &str) -> Result<(), Malformed> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let bad = || {
        Malformed::format(format!(
            "{key:?} is no label key: [prefix/]name, a DNS subdomain and at most 63 of A-Z a-z 0-9 - _ . beginning and ending with a letter or digit"
        ))
    };
    if name.is_empty() || check_value(name).is_err() {
        return Err(bad());
    }
    match prefix {
        Some(prefix) if !is_subdomain(prefix) => Err(bad()),
        Some(_) | None => Ok(()),
    }
}

/// A DNS subdomain as Kubernetes has it (`IsDNS1123Subdomain`): its parts may be longer than 63.
fn is_subdomain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(allowed)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Empty, or at most 63 characters.
pub(crate) fn check_value(value: &str) -> Result<(), Malformed> {
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = value.as_bytes();
    if bytes.len() > MAX_LABEL_BYTES
        || !value.bytes().all(inner)
        || !edge(bytes.first().copied())
        || !edge(bytes.last().copied())
    {
        return Err(Malformed::format(format!(
            "{value:?} is no label value: at most 63 of A-Z a-z 0-9 - _ . beginning and ending with a letter or digit"
        )));
    }
    Ok(())
}
