//! What a failure of SQLite means to a caller.

use rusqlite::ErrorCode;
use tokio::task::JoinError;

use crate::{Error, ErrorKind};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let (kind, message) = match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => {
                (ErrorKind::Conflict, "the change collides with what is stored")
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                (ErrorKind::Corrupt, "the database file is damaged or no database")
            }
            Some(ErrorCode::DiskFull) => {
                (ErrorKind::Unavailable, "the disk of the database is full")
            }
            Some(_) => (ErrorKind::Unavailable, "the database does not answer"),
            None => (ErrorKind::Corrupt, "a stored row has the wrong form"),
        };
        Self::new(kind, message).with_source(error)
    }
}

/// Whether a unique index refused the row.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

pub(super) fn interrupted(error: JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a call of the database was interrupted").with_source(error)
}
