//! Collects everything that is wrong with an input, each with its path.

use std::fmt::{self, Display};

use crate::error::{Error, ErrorKind, FieldCode, FieldError, Result};

/// How many mistakes are told at once; what is beyond is cut off.
pub const MAX_PROBLEMS: usize = 100;

/// What is wrong with an input, so far.
///
/// ```
/// use nxmesh_core::{FieldCode, Path, Problems};
///
/// let mut problems = Problems::default();
/// let locations = Path::root();
/// let locations = locations.field("locations");
/// problems.add(&locations.index(1).field("path"), FieldCode::InvalidFormat, "must start with /");
/// let error = problems.finish(()).unwrap_err();
/// assert_eq!(error.fields()[0].field, "locations[1].path");
/// ```
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<FieldError>,
}

impl Problems {
    /// Notes a mistake.
    pub fn add(&mut self, path: &Path<'_>, code: FieldCode, message: impl Into<String>) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(FieldError { field: path.to_string(), message: message.into(), code });
        }
    }

    /// Notes the mistake of a value that did not parse, and goes on without it.
    pub fn take<T>(&mut self, path: &Path<'_>, parsed: Result<T, Malformed>) -> Option<T> {
        parsed.map_err(|bad| self.add(path, bad.code, bad.message)).ok()
    }

    /// Notes the mistakes of a part, which stands at `path`.
    pub(crate) fn absorb(&mut self, path: &Path<'_>, error: &Error) {
        if error.fields().is_empty() {
            self.add(path, FieldCode::InvalidValue, error.message());
        }
        for FieldError { field, message, code } in error.fields() {
            self.add(&path.field(field), *code, message.as_str());
        }
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The value, if nothing was wrong.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) with everything that was found.
    pub fn finish<T>(self, value: T) -> Result<T> {
        if self.found.is_empty() { Ok(value) } else { Err(Error::invalid(self.found)) }
    }

    /// Everything that was found.
    pub(crate) fn into_fields(self) -> Vec<FieldError> {
        self.found
    }

    /// The value, if nothing was wrong; `None` is only for what was already noted.
    pub(crate) fn finish_with<T>(self, value: Option<T>) -> Result<T> {
        self.finish(())?;
        value.ok_or_else(|| Error::new(ErrorKind::Internal, "a value is missing without a reason"))
    }
}

/// Why one value did not parse; the caller knows where it stood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    /// The sort of mistake.
    pub code: FieldCode,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Malformed {
    /// A value of the wrong form.
    pub fn format(message: impl Into<String>) -> Self {
        Self { code: FieldCode::InvalidFormat, message: message.into() }
    }

    /// A value outside its limits.
    pub fn range(message: impl Into<String>) -> Self {
        Self { code: FieldCode::OutOfRange, message: message.into() }
    }

    /// A value that is well formed, but not allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { code: FieldCode::Forbidden, message: message.into() }
    }
}

/// Where in the input we are: built on the stack, written out only on a mistake.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl Path<'_> {
    /// The input itself.
    #[must_use]
    pub const fn root() -> Path<'static> {
        Path { parent: None, step: Step::Root }
    }

    /// A field of what is here.
    #[must_use]
    pub const fn field<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of the list that is here.
    #[must_use]
    pub const fn index(&self, at: usize) -> Path<'_> {
        Path { parent: Some(self), step: Step::Index(at) }
    }
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Index(at) => write!(f, "[{at}]"),
            Step::Field(name) => match self.parent {
                Some(Path { step: Step::Root, .. }) | None => f.write_str(name),
                Some(_) => write!(f, ".{name}"),
            },
        }
    }
}
