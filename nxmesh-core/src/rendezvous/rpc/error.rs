use std::borrow::Cow;

use crate::Error;

/// The sorts of errors that a call is answered, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RpcErrorCode {
    /// Something that a signature needs is not there.
    AuthRequired,
    /// The signature is not the key's, or was used before.
    InvalidCredentials,
    /// The key is not written as one.
    InvalidPublicKey,
    /// A tag is none, or there are too few or too many.
    InvalidTag,
    /// A session description is not there.
    InvalidSdp,
    /// Something else has the wrong form.
    InvalidParams,
    /// What the call is about is not there.
    MissingParams,
    /// There is no such offer.
    OfferNotFound,
    /// Somebody has answered the offer.
    OfferAlreadyAnswered,
    /// Nobody has answered the offer.
    OfferNotAnswered,
    /// The offer is somebody else's.
    NotAuthorized,
    /// More offers than one call may make.
    TooManyOffers,
    /// A session description is too long.
    SdpTooLarge,
    /// The batch asks for more than one may.
    BatchTooLarge,
    /// The caller asks too often.
    RateLimitExceeded,
    /// The caller would have too many offers.
    TooManyOffersPerUser,
    /// There would be too many offers.
    StorageFull,
    /// The caller would have too many candidates at the offer.
    TooManyIceCandidates,
    /// The server failed.
    InternalError,
    /// There is no such method.
    UnknownMethod,
}

impl RpcErrorCode {
    /// The code as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::InvalidCredentials => "INVALID_CREDENTIALS",
            Self::InvalidPublicKey => "INVALID_PUBLIC_KEY",
            Self::InvalidTag => "INVALID_TAG",
            Self::InvalidSdp => "INVALID_SDP",
            Self::InvalidParams => "INVALID_PARAMS",
            Self::MissingParams => "MISSING_PARAMS",
            Self::OfferNotFound => "OFFER_NOT_FOUND",
            Self::OfferAlreadyAnswered => "OFFER_ALREADY_ANSWERED",
            Self::OfferNotAnswered => "OFFER_NOT_ANSWERED",
            Self::NotAuthorized => "NOT_AUTHORIZED",
            Self::TooManyOffers => "TOO_MANY_OFFERS",
            Self::SdpTooLarge => "SDP_TOO_LARGE",
            Self::BatchTooLarge => "BATCH_TOO_LARGE",
            Self::RateLimitExceeded => "RATE_LIMIT_EXCEEDED",
            Self::TooManyOffersPerUser => "TOO_MANY_OFFERS_PER_USER",
            Self::StorageFull => "STORAGE_FULL",
            Self::TooManyIceCandidates => "TOO_MANY_ICE_CANDIDATES",
            Self::InternalError => "INTERNAL_ERROR",
            Self::UnknownMethod => "UNKNOWN_METHOD",
        }
    }
}

/// Why a call failed, as its caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallError {
    pub(super) code: RpcErrorCode,
    pub(super) message: Cow<'static, str>,
}

pub(super) type CallResult<T> = std::result::Result<T, CallError>;

impl CallError {
    pub(super) fn new(code: RpcErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// `INVALID_PARAMS`, the most common of all.
    pub(super) fn params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RpcErrorCode::InvalidParams, message)
    }
}

/// What a store could not do is no business of strangers; the log has it.
impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, source, "call failed");
        Self::new(RpcErrorCode::InternalError, "Internal server error")
    }
}
