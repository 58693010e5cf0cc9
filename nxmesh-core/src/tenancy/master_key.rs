use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rand::RngExt;

use crate::{Error, ErrorKind, KeyedHash, Result, Secret};

const NONCE: usize = 12;

/// The key under which every other secret is stored (AES-256-GCM).
#[derive(Clone)]
pub struct MasterKey(Secret<[u8; 32]>);

/// A secret under the master key: nonce, ciphertext, tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl MasterKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill(&mut bytes);
        Self(Secret::new(bytes))
    }

    /// The key from its text form: 32 bytes in base64.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|it| it.try_into().ok());
        let bad = || Error::new(ErrorKind::Invalid, "the master key must be 32 bytes in base64");
        bytes.map(|it| Self(Secret::new(it))).ok_or_else(bad)
    }

    /// The text form of the key.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(STANDARD.encode(self.0.expose()))
    }

    /// Encrypts; `purpose` must be named again to decrypt.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal), for more than 64 GiB.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Sealed> {
        let mut sealed = vec![0; NONCE];
        rand::rng().fill(&mut sealed[..]);
        let nonce = nonce(&sealed)?;
        let payload = Payload { msg: secret, aad: purpose.as_bytes() };
        let text = self
            .cipher()
            .encrypt(&nonce, payload)
            .map_err(|_| Error::new(ErrorKind::Internal, "cannot encrypt"))?;
        sealed.extend(text);
        Ok(Sealed(sealed))
    }

    /// Decrypts what [`seal`](Self::seal) made for the same purpose.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when the key, the purpose or the text is another.
    pub fn open(&self, purpose: &str, sealed: &Sealed) -> Result<Secret<Vec<u8>>> {
        let bad = || {
            Error::new(
                ErrorKind::Corrupt,
                format!(
                    "cannot decrypt the {purpose}: is this the master key it was stored under?"
                ),
            )
        };
        let text = sealed.0.get(NONCE..).ok_or_else(bad)?;
        let payload = Payload { msg: text, aad: purpose.as_bytes() };
        let open = self.cipher().decrypt(&nonce(&sealed.0)?, payload);
        open.map(Secret::new).map_err(|_| bad())
    }

    /// A hash of these parts, in this order; one for another `purpose` is another one.
    #[must_use]
    pub fn hash(&self, purpose: &str, parts: &[&[u8]]) -> KeyedHash {
        let key = Secret::new(blake3::derive_key("nxmesh keyed hashes", self.0.expose()));
        let mut hasher = blake3::Hasher::new_keyed(key.expose());
        for part in [purpose.as_bytes()].iter().chain(parts) {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        KeyedHash::from_bytes(*hasher.finalize().as_bytes())
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.0.expose().into())
    }
}

impl Sealed {
    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

fn nonce(sealed: &[u8]) -> Result<Nonce<aes_gcm::aead::consts::U12>> {
    let bytes: Option<[u8; NONCE]> = sealed.get(..NONCE).and_then(|it| it.try_into().ok());
    bytes
        .map(Into::into)
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a sealed secret is cut off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_purpose_and_text() {
        let key = MasterKey::generate();
        let sealed = key.seal("password", b"x").unwrap();
        assert_eq!(key.open("password", &sealed).unwrap().expose(), b"x");
        assert!(key.open("key", &sealed).is_err());
        assert!(MasterKey::generate().open("password", &sealed).is_err());
        assert!(key.open("password", &Sealed(sealed.0[..20].to_vec())).is_err());
        assert!(key.open("password", &Sealed(Vec::new())).is_err());
        let hash = key.hash("request", &[b"ab", b"c"]);
        assert_eq!(hash, key.hash("request", &[b"ab", b"c"]));
        assert_ne!(hash, key.hash("request", &[b"a", b"bc"]));
        assert_ne!(hash, key.hash("key", &[b"ab", b"c"]));
        assert_ne!(hash, MasterKey::generate().hash("request", &[b"ab", b"c"]));
        let copy = MasterKey::parse(key.to_text().expose()).unwrap();
        assert!(copy.open("password", &sealed).is_ok());
    }
}
