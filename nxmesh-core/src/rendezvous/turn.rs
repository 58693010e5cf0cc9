use std::{fmt, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::{Millis, base64};
use crate::{Error, ErrorKind, Result, Secret};

/// The secret that this server shares with a TURN server: `static-auth-secret` of coturn, which
/// needs `use-auth-secret` beside it.
#[derive(Clone)]
pub struct TurnKey(Secret<String>);

/// What a TURN server lets a peer in by, for a time.
#[derive(Debug, Clone)]
pub struct TurnCredential {
    /// When it ends, in seconds since 1970, and for whom it is: `1700000000:peer`.
    pub username: String,
    /// The password.
    pub credential: Secret<String>,
    /// From then on it is good for no new allocation.
    pub expires_at: Millis,
}

impl TurnKey {
    /// A key from its text, which is used as it is.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is empty: anybody could make credentials then.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let key = Secret::new(text.into());
        if key.expose().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the secret of TURN must not be empty"));
        }
        Ok(Self(key))
    }

    /// A credential for a peer, good for `ttl`, less what is left over of a second.
    #[must_use]
    pub fn issue(&self, peer: &str, now: Millis, ttl: Duration) -> TurnCredential {
        let ttl = Millis::try_from(ttl.as_millis()).unwrap_or(Millis::MAX);
        let seconds = now.saturating_add(ttl).div_euclid(1000);
        let username = format!("{seconds}:{peer}");
        let mac = Hmac::<Sha1>::new_from_slice(self.0.expose().as_bytes());
        let mac = mac.expect("a key of HMAC may have any length").chain_update(&username);
        let credential = Secret::new(base64::encode(&mac.finalize().into_bytes()));
        TurnCredential { username, credential, expires_at: seconds * 1000 }
    }
}

impl fmt::Debug for TurnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_what_coturn_expects() {
        let key = TurnKey::parse("north").unwrap();
        let peer = "f17c195f067255e357232e34cf0735d9";
        let made = key.issue(peer, 1_699_999_400_999, Duration::from_secs(600));
        assert_eq!(made.username, format!("1700000000:{peer}"));
        assert_eq!(made.expires_at, 1_700_000_000_000);
        // printf %s 1700000000:f17c195f067255e357232e34cf0735d9 | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(made.credential.expose(), "8TqJ+IrmzmmnPCpHyFBifnqH+FA=");
        let long = TurnKey::parse("k".repeat(100)).unwrap().issue("é", 0, Duration::ZERO);
        // The same with `-hmac` of 100 times k, for 0:é.
        assert_eq!(
            (&*long.username, &**long.credential.expose()),
            ("0:é", "jKochw8NU3z4uhaSsV7uhzZYrrc=")
        );
    }

    #[test]
    fn a_key_is_not_empty_and_not_shown() {
        assert_eq!(TurnKey::parse("").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(format!("{:?}", TurnKey::parse("north").unwrap()), "TurnKey(..)");
    }
}
