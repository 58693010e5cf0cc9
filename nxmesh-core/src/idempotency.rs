//! Requests that may be sent again, and must be done once.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{Malformed, Result, tenancy::Sealed};

/// The longest name of a request.
const MAX_KEY_LENGTH: usize = 255;

/// What requests that may be sent again ask of a database: the one that holds what they change.
///
/// A key is held from [`reserve`](Self::reserve) until its time is over, or it is released.
/// What was answered survives a crash: a key that was reserved stays so.
#[async_trait]
pub trait IdempotencyStore: Debug + Send + Sync + 'static {
    /// Takes a key. Where it is held already, and its time is not over when this one begins,
    /// nothing changes, and what it is held for is answered; `None` says that it was taken. Of
    /// many at once one takes it.
    async fn reserve(&self, reservation: &Reservation) -> Result<Option<Held>>;

    /// Keeps the answer beside the key, as long as the key is held. Answers `false`, and changes
    /// nothing, when it is not held by this ticket any more.
    async fn complete(&self, key: &KeyedHash, ticket: Uuid, answer: &Sealed) -> Result<bool>;

    /// Gives a key back before its time. Answers `false`, and changes nothing, when it is not
    /// held by this ticket any more, or has an answer.
    async fn release(&self, key: &KeyedHash, ticket: Uuid) -> Result<bool>;

    /// Drops keys whose time was over then, and their answers; some of them, if they are many.
    /// Answers how many: call it again until that is 0.
    async fn drop_expired(&self, now: DateTime<Utc>) -> Result<u64>;
}

/// A request that is about to be done, and holds its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose key it is, and which.
    pub key: KeyedHash,
    /// Tells this try from later ones with the same key.
    pub ticket: Uuid,
    /// What is asked for.
    pub request: KeyedHash,
    /// Since when the key is held.
    pub reserved_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// What a key is held for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What was asked for.
    pub request: KeyedHash,
    /// Since when the key is held.
    pub reserved_at: DateTime<Utc>,
    /// What was answered; `None` as long as the request is under way, and for ever if its end
    /// was not recorded.
    pub answer: Option<Sealed>,
}

/// What a caller names a request by: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// A hash that can be made only under the master key: of what is short or known, nobody who
/// has the database can find it out by trying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyedHash([u8; 32]);

impl IdempotencyKey {
    /// A name from its text.
    ///
    /// # Errors
    /// [`Malformed`] when it is none.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let visible = text.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(text).ok().filter(|_| visible);
        let text = text.ok_or_else(|| Malformed::format("must be visible ASCII characters"))?;
        if !(1..=MAX_KEY_LENGTH).contains(&text.len()) {
            let message = format!("must have 1 to {MAX_KEY_LENGTH} characters");
            return Err(Malformed::range(message));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl KeyedHash {
    /// The hash as bytes, to store it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash from stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        for fine in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"!~\"", &"k".repeat(255)] {
            assert!(IdempotencyKey::parse(fine.as_bytes()).is_ok(), "{fine}");
        }
        for bad in ["", " ", "a b", "ä", "a\n", "\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(IdempotencyKey::parse(&[0xff]).is_err());
    }
}
