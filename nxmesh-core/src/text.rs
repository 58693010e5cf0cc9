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
