//! Text that is valid by construction.

use crate::problems::Malformed;

/// Declares a string type that exists only if `parse` accepts it: it reads and
/// writes as a plain string, and whatever deserializes it checks it again.
macro_rules! text_type {
    ($(#[$meta:meta])* $name:ident, $check:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it is valid.
            ///
            /// # Errors
            /// Says what is wrong and what would be right.
            pub fn parse(text: impl Into<String>) -> Result<Self, $crate::problems::Malformed> {
                let text: String = text.into();
                ($check)(text.as_str())?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::problems::Malformed;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text_type;

/// How long what people call things may be, in characters.
pub(crate) const MAX_LABEL_CHARS: usize = 200;

/// Accepts text that a person reads: no control characters, not blank, `max` characters at most.
pub(crate) fn check_label(text: &str, max: usize) -> Result<(), Malformed> {
    if text.trim().is_empty() {
        return Err(Malformed::format("must not be blank"));
    }
    if text.chars().count() > max {
        return Err(Malformed::range(format!("must have {max} characters at most")));
    }
    if text.chars().any(char::is_control) {
        return Err(Malformed::format("must not contain control characters"));
    }
    Ok(())
}

/// The longest token that nginx reads (`NGX_CONF_BUFFER`), with its quotes.
const MAX_TOKEN_BYTES: usize = 4095;

/// Refuses what is too long for nginx once it is written in quotes, each quote and backslash in
/// it as two.
pub(crate) fn check_token(text: &str) -> Result<(), Malformed> {
    let doubled = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    if text.len() + doubled + 2 > MAX_TOKEN_BYTES {
        let most = MAX_TOKEN_BYTES - 2;
        let message =
            format!("must have {most} bytes at most, quotes and backslashes counted twice");
        return Err(Malformed::range(message));
    }
    Ok(())
}
