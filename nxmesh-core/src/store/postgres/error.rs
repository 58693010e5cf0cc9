//! What a failure of Postgres means to a caller.

use sqlx::{Error as SqlError, postgres::PgDatabaseError};

use crate::{Error, ErrorKind};

impl From<SqlError> for Error {
    fn from(error: SqlError) -> Self {
        let misread = matches!(
            error,
            SqlError::ColumnDecode { .. }
                | SqlError::Decode(_)
                | SqlError::ColumnNotFound(_)
                | SqlError::ColumnIndexOutOfBounds { .. }
                | SqlError::TypeNotFound { .. }
        );
        let (kind, message) = if let SqlError::Database(refusal) = &error {
            refused(refusal.code().as_deref().unwrap_or_default())
        } else if misread {
            (ErrorKind::Corrupt, "a stored row has the wrong form")
        } else {
            (ErrorKind::Unavailable, "the database does not answer")
        };
        // What the database refused was not done; an answer that did not come leaves it open.
        let answered = misread || matches!(error, SqlError::Database(_));
        let told = Self::new(kind, message).with_source(error);
        if answered { told } else { told.undecided() }
    }
}

/// By SQLSTATE: appendix A of the documentation of Postgres.
fn refused(code: &str) -> (ErrorKind, &'static str) {
    match code {
        // Integrity constraint violations.
        _ if code.starts_with("23") => {
            (ErrorKind::Conflict, "the change collides with what is stored")
        }
        "57014" => (ErrorKind::Unavailable, "the database took too long"),
        "25006" => (ErrorKind::Unavailable, "the database can only be read"),
        "53100" => (ErrorKind::Unavailable, "the disk of the database is full"),
        // Insufficient resources, connection exceptions, intervention, rollbacks, invalid
        // authorization.
        _ if ["53", "08", "57", "40", "28"].iter().any(|class| code.starts_with(class)) => {
            (ErrorKind::Unavailable, "the database does not take the call now")
        }
        _ => (ErrorKind::Internal, "the database does not understand the call"),
    }
}

/// The constraint that refused a row.
pub(super) fn constraint(error: &Error) -> Option<&str> {
    let source = std::error::Error::source(error)?.downcast_ref::<SqlError>()?;
    let SqlError::Database(refusal) = source else { return None };
    refusal.try_downcast_ref::<PgDatabaseError>()?.constraint()
}

/// Whether nothing was done only because of what others did at the same time: a deadlock, or a
/// serialization failure.
#[cfg(feature = "rendezvous")]
pub(super) fn is_to_be_repeated(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|it| it.downcast_ref::<SqlError>());
    let Some(SqlError::Database(refusal)) = source else { return false };
    matches!(refusal.code().as_deref(), Some("40001" | "40P01"))
}

/// Whether the connection can be used again after this.
pub(super) fn is_of_the_call<T>(done: &Result<T, SqlError>) -> bool {
    match done {
        Ok(_) | Err(SqlError::RowNotFound) => true,
        Err(SqlError::Database(refusal)) => {
            let code = refusal.code().unwrap_or_default();
            !["08", "57P"].iter().any(|class| code.starts_with(class))
        }
        Err(_) => false,
    }
}

pub(super) fn unavailable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}
