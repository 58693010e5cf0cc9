//! What can go wrong, in the words a caller can act on.

use std::{error::Error as StdError, fmt};

/// What every fallible call of this crate answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What kind of thing went wrong: act on this, show the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is not valid; [`Error::fields`] names what and why.
    Invalid,
    /// The caller did not prove who they are.
    Unauthenticated,
    /// The caller may see the object, but not do this to it.
    Forbidden,
    /// There is no such object, or the caller may not know of it.
    NotFound,
    /// The change collides with what is there.
    Conflict,
    /// What the change was based on has moved on in the meantime.
    Stale,
    /// A condition that the caller set (`If-Match`) does not hold.
    Precondition,
    /// Something needed for this is not there right now; trying again later makes sense.
    Unavailable,
    /// What is stored cannot be understood.
    Corrupt,
    /// A defect of this program.
    Internal,
}

/// One thing that is wrong with the input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Where, as a path a person can follow: `locations[1].custom_headers[0].name`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The sort of mistake, for programs.
    pub code: FieldCode,
}

/// The sorts of mistake a field can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FieldCode {
    /// Must be there and is not.
    Required,
    /// Has the wrong form.
    InvalidFormat,
    /// Is not one of the values, or not of the type, allowed here.
    InvalidValue,
    /// Is too large, too small, too long or too many.
    OutOfRange,
    /// No field has this name.
    UnknownField,
    /// Is well formed, but not allowed here.
    Forbidden,
    /// Names something that does not exist.
    NotFound,
    /// Does not go together with another field.
    Contradiction,
    /// Occurs twice.
    Duplicate,
    /// Was changed in the meantime.
    Stale,
    /// Is needed by something else.
    InUse,
}

/// The one error of this crate.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    fields: Vec<FieldError>,
    undecided: bool,
    source: Option<Source>,
}

impl Error {
    /// An error of this kind. The message is a lower-case fragment without its cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), fields: Vec::new(), undecided: false, source: None }
    }

    /// The input is not valid, for these reasons.
    #[must_use]
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        Self { fields, ..Self::new(ErrorKind::Invalid, "request validation failed") }
    }

    /// The input is not valid, for one reason: `Error::invalid_field("name", FieldCode::Required, "must be there")`.
    pub fn invalid_field(
        field: impl Into<String>,
        code: FieldCode,
        message: impl Into<String>,
    ) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), message: message.into(), code }])
    }

    /// There is no such object: `Error::not_found("agent", id)`.
    pub fn not_found(noun: &str, id: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, format!("no {noun} has the id {id}"))
    }

    /// The same once more, for another caller; the cause stays with the first.
    pub(crate) fn again(&self) -> Self {
        let (message, undecided) = (self.message.clone(), self.undecided);
        Self { undecided, ..Self::new(self.kind, message) }.with_fields(self.fields.clone())
    }

    /// An object whose workspace is hidden is hidden itself: `missing` says so.
    pub(crate) fn or_missing(self, missing: impl FnOnce() -> Self) -> Self {
        if self.kind == ErrorKind::NotFound { missing() } else { self }
    }

    /// The change that failed may have been made all the same: its answer was lost. A store says
    /// so of each change of which it is true; what is not said to be so was not made.
    #[must_use]
    pub fn undecided(self) -> Self {
        Self { undecided: true, ..self }
    }

    /// Nothing was changed.
    pub(crate) fn decided(self) -> Self {
        Self { undecided: false, ..self }
    }

    /// Whether the change that failed may have been made all the same.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        self.undecided
    }

    /// Adds what caused this.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the fields that have to do with it.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.fields = fields;
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What went wrong, without the fields.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is wrong with the input, field by field.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        &self.fields
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (at, field) in self.fields.iter().enumerate() {
            let lead = if at == 0 { ": " } else { "; " };
            write!(f, "{lead}{}: {}", field.field, field.message)?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_every_field_and_leaves_the_source_to_the_chain() {
        let error = Error::invalid(vec![
            FieldError {
                field: "a".into(),
                message: "is odd".into(),
                code: FieldCode::InvalidValue,
            },
            FieldError {
                field: "b[1]".into(),
                message: "is even".into(),
                code: FieldCode::InvalidValue,
            },
        ])
        .with_source("cause");
        assert_eq!(error.to_string(), "request validation failed: a: is odd; b[1]: is even");
        assert_eq!(error.source().unwrap().to_string(), "cause");
    }
}
