use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use uuid::Uuid;

use super::{Millis, base64, hex};
use crate::{Error, ErrorKind, Result};

/// Who a peer of the protocol `rpc` is: an Ed25519 key, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(String);

/// Something that a peer signed, which is good once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Nonce {
    /// Whose it is.
    pub key: PublicKey,
    /// What it is.
    pub nonce: Uuid,
    /// From then on what was signed with it is too old, and it may be forgotten.
    pub expires_at: Millis,
}

impl PublicKey {
    /// A key from its digits. Whether a signature can be of it is not asked here.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when they are not 64 lower-case hexadecimal digits.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text: String = text.into();
        let is_digit = |it: u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(is_digit) {
            return Ok(Self(text));
        }
        let what = "a public key is 64 lower-case hexadecimal digits";
        Err(Error::new(ErrorKind::Invalid, what))
    }

    pub(super) fn of(key: &VerifyingKey) -> Self {
        Self(hex::to_hex(key.as_bytes()))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the signature, 64 bytes in base64, is this key's for the message. Keys and signatures
/// that would fit more than one message or key are refused.
#[must_use]
pub fn verify(key: &PublicKey, message: &str, signature: &str) -> bool {
    let key = hex::from_hex(key.as_str()).and_then(|it| VerifyingKey::from_bytes(&it).ok());
    let signature = base64::decode(signature).and_then(|it| Signature::from_slice(&it).ok());
    let (Some(key), Some(signature)) = (key, signature) else { return false };
    key.verify_strict(message.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    /// Test 1 of RFC 8032.
    const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const MESSAGE: &str = r#"1700000000000:123e4567-e89b-42d3-a456-426614174000:publishOffer:{"offers":[{"sdp":"v=0\r\n"}],"tags":["b","a"],"ttl":300000}"#;
    const SIGNATURE: &str =
        "bBOk6qvYIFeX/lG21u8ikM2VWHZzHw4GNJkPl29kcHpqLKWSdhuyjhXQ/N5kYM5IAmJ6N8YtdEoIuh/nGbIJCw==";

    fn key() -> PublicKey {
        PublicKey::parse(PUBLIC).unwrap()
    }

    #[test]
    fn a_signature_is_that_of_the_first_client() {
        assert!(verify(&key(), MESSAGE, SIGNATURE));
        let signing = SigningKey::from_bytes(&hex::from_hex(SECRET).unwrap());
        assert_eq!(hex::to_hex(signing.verifying_key().as_bytes()), PUBLIC);
        assert_eq!(base64::encode(&signing.sign(MESSAGE.as_bytes()).to_bytes()), SIGNATURE);
    }

    #[test]
    fn a_signature_of_anything_else_is_none() {
        assert!(!verify(&key(), &MESSAGE.replace("300000", "300001"), SIGNATURE));
        assert!(!verify(&PublicKey::parse(PUBLIC.replace('7', "8")).unwrap(), MESSAGE, SIGNATURE));
        for end in 0..SIGNATURE.len() - 2 {
            assert!(!verify(&key(), MESSAGE, &SIGNATURE[..end]), "{end}");
        }
        let mut bytes = base64::decode(SIGNATURE).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&key(), MESSAGE, &base64::encode(&bytes)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_key_that_fits_every_message_is_refused() {
        // The neutral element as key and as R, with S = 0, satisfies the plain equation.
        let neutral = format!("01{}", "0".repeat(62));
        let mut signature = [0; 64];
        signature[0] = 1;
        let key = PublicKey::parse(neutral).unwrap();
        assert!(!verify(&key, "anything", &base64::encode(&signature)));
    }

    #[test]
    fn a_key_is_64_lower_case_digits() {
        assert_eq!(key().as_str(), PUBLIC);
        for bad in [
            "",
            &PUBLIC[1..],
            &format!("{PUBLIC}0"),
            &PUBLIC.to_uppercase(),
            &PUBLIC.replace('d', "g"),
        ] {
            assert_eq!(PublicKey::parse(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_a_key_signs_is_its_own(seed: [u8; 32], message in ".{0,200}", other in ".{0,200}") {
            let signing = SigningKey::from_bytes(&seed);
            let key = PublicKey::parse(hex::to_hex(signing.verifying_key().as_bytes())).unwrap();
            let signature = base64::encode(&signing.sign(message.as_bytes()).to_bytes());
            prop_assert!(verify(&key, &message, &signature));
            prop_assert_eq!(verify(&key, &other, &signature), other == message);
        }

        #[test]
        fn any_text_is_refused_as_a_signature(digits in "[0-9a-f]{64}", signature in ".{0,100}") {
            prop_assert!(!verify(&PublicKey::parse(digits).unwrap(), "message", &signature));
        }
    }
}
