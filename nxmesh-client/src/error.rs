use nxmesh_core::FieldError;
use reqwest::StatusCode;
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
    /// A rendezvous server answered that it did not.
    #[error(transparent)]
    Rendezvous(#[from] RendezvousError),
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
    /// Something else answered than rendezvous.
    #[error("rendezvous is not at {0} (404): its base URL is like http://HOST:PORT/rendezvous")]
    NoRendezvous(String),
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

/// An error as a rendezvous server tells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", code.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
pub struct RendezvousError {
    /// The HTTP status; 200 for a call of the protocol `rpc` that failed among others.
    pub status: u16,
    /// The sort of error, for programs: `OFFER_NOT_FOUND`, ...; the protocol `rpc` alone has it.
    pub code: Option<String>,
    /// What is wrong, to the letter.
    pub message: String,
}

impl RendezvousError {
    /// Whether there is no such offer, any more or yet.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status == 404
            || self.code.as_deref() == Some("OFFER_NOT_FOUND")
            // An answer that comes too late is told by a 400.
            || self.message == "Offer not found or expired"
    }

    /// Whether somebody answered the offer before.
    #[must_use]
    pub fn is_already_answered(&self) -> bool {
        self.code.as_deref() == Some("OFFER_ALREADY_ANSWERED")
            || self.message.starts_with("Offer already answered")
    }
}

impl Error {
    /// The error that the server told, if it did.
    #[must_use]
    pub const fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            Self::Rendezvous(_)
            | Self::Transport(_)
            | Self::Socket(_)
            | Self::Answer { .. }
            | Self::NoRendezvous(_)
            | Self::Address(_)
            | Self::Build(_) => None,
        }
    }

    /// The error that a rendezvous server told, if it did.
    #[must_use]
    pub const fn rendezvous(&self) -> Option<&RendezvousError> {
        match self {
            Self::Rendezvous(error) => Some(error),
            Self::Api(_)
            | Self::Transport(_)
            | Self::Socket(_)
            | Self::Answer { .. }
            | Self::NoRendezvous(_)
            | Self::Address(_)
            | Self::Build(_) => None,
        }
    }

    /// Whether there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.api().is_some_and(|it| it.status == 404)
            || self.rendezvous().is_some_and(RendezvousError::is_not_found)
    }

    /// Whether it may be better a little later.
    #[cfg(feature = "rendezvous")]
    pub(crate) const fn is_passing(&self) -> bool {
        let status = match self {
            Self::Transport(_) | Self::Socket(_) => return true,
            Self::NoRendezvous(_) | Self::Address(_) | Self::Build(_) => return false,
            Self::Api(error) => error.status,
            Self::Rendezvous(error) => error.status,
            Self::Answer { status, .. } => *status,
        };
        status == 429 || status >= 500
    }
}

fn shown(details: &[FieldError]) -> String {
    let fields = details.iter().map(|it| format!("; {}: {}", it.field, it.message));
    fields.collect()
}

/// What the server of a mesh says that did not do what was asked.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Envelope {
        error: ApiError,
    }
    let status = status.as_u16();
    match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { error }) => Error::Api(ApiError { status, ..error }),
        Err(source) => Error::Answer { status, source: Some(source) },
    }
}
