//! Entity tags: which state of an object a caller has seen (RFC 9110 8.8.3, 13.1.1).

use std::fmt;

use crate::{Error, ErrorKind, Result};

/// Names one state of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag with this text, which must not contain quotes.
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The condition of a change: only if the object is still as the caller has seen it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// In any state.
    #[default]
    Any,
    /// Only in one of these.
    OneOf(Vec<ETag>),
}

impl IfMatch {
    /// The condition from the text of an `If-Match` header. Weak tags never match.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        if header.trim() == "*" {
            return Self::Any;
        }
        let strong = |tag: &str| tag.trim().strip_prefix('"')?.strip_suffix('"').map(ETag::new);
        Self::OneOf(header.split(',').filter_map(strong).collect())
    }

    /// Whether no state at all can meet it.
    pub(crate) fn is_void(&self) -> bool {
        matches!(self, Self::OneOf(tags) if tags.is_empty())
    }

    pub(crate) fn check(&self, current: &ETag) -> Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::OneOf(tags) if tags.contains(current) => Ok(()),
            Self::OneOf(_) => {
                let message =
                    format!("the object was changed in the meantime: it is at {current} now");
                Err(Error::new(ErrorKind::Precondition, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_rfc_9110_says() {
        let current = ETag::new(7);
        for (header, holds) in [
            ("*", true),
            ("\"7\"", true),
            ("\"6\", \"7\"", true),
            ("\"6\"", false),
            ("W/\"7\"", false),
            ("7", false),
            ("", false),
        ] {
            assert_eq!(IfMatch::parse(header).check(&current).is_ok(), holds, "{header}");
        }
    }
}
