use crate::{Error, ErrorKind, FieldCode, FieldError};

/// What all backends answer when a slug is taken.
pub(super) fn slug_taken(by: &str, slug: &str) -> Error {
    let message = format!("{by} has the slug {slug} already");
    let field = FieldError { field: "slug".to_owned(), message, code: FieldCode::Duplicate };
    Error::new(ErrorKind::Conflict, "the slug is taken").with_fields(vec![field])
}
