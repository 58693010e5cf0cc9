use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use rand::RngExt;

use super::{PublicKey, base64, hex};
use crate::{Error, ErrorKind, Result, Secret};

/// What a peer of the protocol `rpc` signs with.
#[derive(Clone)]
pub struct KeyPair(SigningKey);

impl KeyPair {
    /// A new random one.
    #[must_use]
    pub fn generate() -> Self {
        let mut seed = [0; 32];
        rand::rng().fill(&mut seed);
        let seed = Secret::new(seed);
        Self(SigningKey::from_bytes(seed.expose()))
    }

    /// One from the text form of its private half: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::new(ErrorKind::Invalid, "a private key is 64 hexadecimal digits");
        hex::from_hex(text.trim()).map(|it| Self(SigningKey::from_bytes(&it))).ok_or_else(bad)
    }

    /// The text form of its private half, to be kept where the peer is to be the same again.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(hex::to_hex(self.0.as_bytes()))
    }

    /// Its public half: who the peer is.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(&self.0.verifying_key())
    }

    /// Signs: 64 bytes in base64.
    #[must_use]
    pub fn sign(&self, message: &str) -> String {
        base64::encode(&self.0.sign(message.as_bytes()).to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public_key()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::verify;

    /// Test 1 of RFC 8032.
    const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const MESSAGE: &str = r#"1700000000000:123e4567-e89b-42d3-a456-426614174000:publishOffer:{"offers":[{"sdp":"v=0\r\n"}],"tags":["b","a"],"ttl":300000}"#;
    const SIGNATURE: &str =
        "bBOk6qvYIFeX/lG21u8ikM2VWHZzHw4GNJkPl29kcHpqLKWSdhuyjhXQ/N5kYM5IAmJ6N8YtdEoIuh/nGbIJCw==";

    #[test]
    fn a_signature_is_that_of_the_first_client() {
        let key = KeyPair::parse(SECRET).unwrap();
        assert_eq!(key.public_key().as_str(), PUBLIC);
        assert_eq!(key.sign(MESSAGE), SIGNATURE);
        assert_eq!(key.to_text().expose(), SECRET);
    }

    #[test]
    fn a_new_one_is_its_own_and_shows_no_secret() {
        let (one, other) = (KeyPair::generate(), KeyPair::generate());
        assert!(verify(&one.public_key(), "m", &one.sign("m")));
        assert!(!verify(&one.public_key(), "m", &other.sign("m")));
        assert!(!format!("{one:?}").contains(one.to_text().expose()));
        for bad in ["", &SECRET[1..], &SECRET.replace('f', "g")] {
            assert_eq!(KeyPair::parse(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
