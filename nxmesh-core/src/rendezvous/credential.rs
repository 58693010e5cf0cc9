use std::fmt;

use aes_gcm::{Aes256Gcm, KeyInit, aead::Aead};
use rand::RngExt;
use subtle::{Choice, ConstantTimeEq};

use super::{base64, hex};
use crate::{Error, ErrorKind, Result, Secret};

const IV: usize = 12;

/// The key under which credentials of peers are made.
#[derive(Clone)]
pub struct CredentialKey(Secret<[u8; 32]>);

/// The keys under which credentials are good.
#[derive(Debug, Clone)]
pub struct CredentialKeys {
    current: CredentialKey,
    previous: Option<CredentialKey>,
}

/// What a peer of the protocol `offers` proves itself by. Nothing of it is stored: it is good for
/// as long as its key is.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The peer's name: 32 hexadecimal digits.
    pub peer_id: String,
    /// That name under the key.
    pub secret: Secret<String>,
}

impl CredentialKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill(&mut bytes);
        Self(Secret::new(bytes))
    }

    /// The key from its text form: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || {
            let what = "the key of rendezvous credentials must be 64 hexadecimal digits";
            Error::new(ErrorKind::Invalid, what)
        };
        hex::from_hex(text.trim()).map(|it| Self(Secret::new(it))).ok_or_else(bad)
    }

    /// The text form of the key.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(hex::to_hex(self.0.expose()))
    }

    fn secret(&self, peer_id: &str, iv: [u8; IV]) -> Result<Secret<String>> {
        let text = self
            .cipher()
            .encrypt(&iv.into(), peer_id.as_bytes())
            .map_err(|_| Error::new(ErrorKind::Internal, "cannot encrypt a peer's id"))?;
        Ok(Secret::new(base64::encode(&[&iv[..], &text].concat())))
    }

    fn is_of(&self, peer_id: &str, secret: &[u8]) -> Choice {
        let Some((iv, text)) = secret.split_first_chunk::<IV>() else { return Choice::from(0) };
        let opened = self.cipher().decrypt(&(*iv).into(), text);
        opened.map_or(Choice::from(0), |it| it.ct_eq(peer_id.as_bytes()))
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.0.expose().into())
    }
}

impl CredentialKeys {
    /// Credentials are made under `current`, and good under either.
    #[must_use]
    pub const fn new(current: CredentialKey, previous: Option<CredentialKey>) -> Self {
        Self { current, previous }
    }

    /// A credential for a new peer, whose name is random.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) when encrypting fails.
    pub fn issue(&self) -> Result<Credential> {
        let (mut id, mut iv) = ([0; 16], [0; IV]);
        rand::rng().fill(&mut id);
        rand::rng().fill(&mut iv);
        let peer_id = hex::to_hex(&id);
        let secret = self.current.secret(&peer_id, iv)?;
        Ok(Credential { peer_id, secret })
    }

    /// Whether the secret is this peer's. How long that takes tells nothing of how wrong it is.
    #[must_use]
    pub fn check(&self, peer_id: &str, secret: &str) -> bool {
        let Some(secret) = base64::decode(secret) else { return false };
        let keys = [Some(&self.current), self.previous.as_ref()];
        let tried = keys.into_iter().flatten().map(|key| key.is_of(peer_id, &secret));
        tried.fold(Choice::from(0), |any, it| any | it).into()
    }
}

impl fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const PEER: &str = "f17c195f067255e357232e34cf0735d9";
    const SECRET: &str =
        "oKGio6SlpqeoqaqrgClLTnTyN9lSU7DhMk+l7UWbayOg0nFY/2gWsUyeETggEiXl7OT+FRC3EQvkyUL1";

    fn keys(current: &str, previous: Option<&str>) -> CredentialKeys {
        let key = |it| CredentialKey::parse(it).unwrap();
        CredentialKeys::new(key(current), previous.map(key))
    }

    #[test]
    fn a_secret_is_that_of_the_first_server() {
        let iv = std::array::from_fn(|at| 0xA0 + u8::try_from(at).unwrap());
        let key = CredentialKey::parse(KEY).unwrap();
        assert_eq!(key.secret(PEER, iv).unwrap().expose(), SECRET);
        assert!(keys(KEY, None).check(PEER, SECRET));
        assert!(keys(KEY, None).check(PEER, &format!(" {SECRET}\n")));
    }

    #[test]
    fn a_secret_is_good_for_its_own_peer_only_and_only_whole() {
        let keys = keys(KEY, None);
        let other = PEER.replace('d', "e");
        assert!(!keys.check(&other, SECRET) && !keys.check("", SECRET));
        for end in 0..SECRET.len() {
            assert!(!keys.check(PEER, &SECRET[..end]), "{end}");
        }
        let mut bytes = base64::decode(SECRET).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!keys.check(PEER, &base64::encode(&bytes)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn the_previous_key_still_counts_and_none_before_it() {
        let (new, old) = (CredentialKey::generate(), CredentialKey::generate());
        let (new, old) = (new.to_text(), old.to_text());
        let before = keys(old.expose(), None).issue().unwrap();
        let both = keys(new.expose(), Some(old.expose()));
        let after = both.issue().unwrap();
        assert!(both.check(&before.peer_id, before.secret.expose()));
        assert!(both.check(&after.peer_id, after.secret.expose()));
        let only_new = keys(new.expose(), None);
        assert!(!only_new.check(&before.peer_id, before.secret.expose()));
        assert!(only_new.check(&after.peer_id, after.secret.expose()));
    }

    #[test]
    fn a_credential_has_the_form_that_clients_know() {
        let keys = CredentialKeys::new(CredentialKey::generate(), None);
        let (one, other) = (keys.issue().unwrap(), keys.issue().unwrap());
        assert_eq!((one.peer_id.len(), one.secret.expose().len()), (32, 80));
        assert!(hex::from_hex::<16>(&one.peer_id).is_some());
        assert_eq!(one.peer_id, one.peer_id.to_lowercase());
        assert_ne!(one.peer_id, other.peer_id);
        assert!(!keys.check(&one.peer_id, other.secret.expose()));
    }

    #[test]
    fn a_key_is_read_from_digits_and_never_shown() {
        let key = CredentialKey::parse(&format!(" {}\n", KEY.to_uppercase())).unwrap();
        assert_eq!(key.to_text().expose(), KEY);
        assert_eq!(format!("{:?}", CredentialKeys::new(key, None)).matches("0a").count(), 0);
        for bad in ["", &KEY[1..], &format!("{KEY}0"), &KEY.replace('f', "g")] {
            assert_eq!(CredentialKey::parse(bad).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_secret_by_chance(peer in ".{0,40}", secret in ".{0,100}") {
            prop_assert!(!keys(KEY, None).check(&peer, &secret));
        }
    }
}
