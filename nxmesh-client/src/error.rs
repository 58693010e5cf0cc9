use nxmesh_core::FieldError;
use serde::Deserialize;

/// What every call of this crate answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered that it did not.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// No answer came.
    #[error("no answer from the server")]
    Transport(#[source] reqwest::Error),
    /// The connection for events does not work.
    #[error("no connection for events to the server")]
    Socket(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer came that this client does not understand.
    #[error("the server's answer ({status}) is not understood")]
    Answer {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The address of the server is none.
    #[error("{0:?} is no address of a server: http://HOST:PORT")]
    Address(String),
    /// The client could not be put together.
    #[error("cannot make a client")]
    Build(#[source] reqwest::Error),
}

/// An error as the server tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{message} ({code}, request {request_id}){}", shown(details))]
pub struct ApiError {
    /// The HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// The sort of error, for programs: `NOT_FOUND`, `VALIDATION_ERROR`, ...
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// Names the request in the server's log.
    pub request_id: String,
    /// What is wrong with which field.
    #[serde(default)]
    pub details: Vec<FieldError>,
}

impl Error {
    /// The error that the server told, if it did.
    #[must_use]
    pub const fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            Self::Transport(_)
            | Self::Socket(_)
            | Self::Answer { .. }
            | Self::Address(_)
            | Self::Build(_) => None,
        }
    }

    /// Whether there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.api().is_some_and(|it| it.status == 404)
    }
}

fn shown(details: &[FieldError]) -> String {
    let fields = details.iter().map(|it| format!("; {}: {}", it.field, it.message));
    fields.collect()
}
