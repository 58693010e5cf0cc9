use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rsa::{
    RsaPrivateKey,
    pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey},
    pkcs8::LineEnding,
    traits::PublicKeyParts,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error, ErrorKind, Result,
    tenancy::{MasterKey, Sealed},
};

const PURPOSE: &str = "signing key";
const BITS: usize = 2048;

/// The key that signs access tokens (RS256).
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    kid: String,
    pem: crate::Secret<String>,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Modulus and exponent, in base64url.
    public: (String, String),
}

/// A signing key as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSigningKey {
    /// Names the key in the tokens it signed.
    pub kid: String,
    /// The private key, under the master key.
    pub sealed: Sealed,
}

impl SigningKey {
    /// A new key of 2048 bits. Takes some 100 ms of a core: do not call it on an async worker.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) when the machine has no randomness.
    pub fn generate() -> Result<Self> {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS).map_err(broken)?;
        let pem = key.to_pkcs1_pem(LineEnding::LF).map_err(broken)?;
        Self::from_pem(&pem)
    }

    /// The key from its PEM form (PKCS #1).
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when it is no such key.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let key = RsaPrivateKey::from_pkcs1_pem(pem).map_err(broken)?;
        let parts = (base64url(&key.n().to_bytes_be()), base64url(&key.e().to_bytes_be()));
        let public = key.to_public_key().to_pkcs1_der().map_err(broken)?;
        // The thumbprint names the key, so that two servers name it alike.
        let kid = blake3::hash(public.as_bytes()).to_hex()[..16].to_owned();
        Ok(Self(Arc::new(Inner {
            kid,
            pem: crate::Secret::new(pem.to_owned()),
            encoding: EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(broken)?,
            decoding: DecodingKey::from_rsa_der(public.as_bytes()),
            public: parts,
        })))
    }

    /// The key as a store may keep it.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) when it cannot be encrypted.
    pub fn seal(&self, master: &MasterKey) -> Result<SealedSigningKey> {
        let sealed = master.seal(PURPOSE, self.0.pem.expose().as_bytes())?;
        Ok(SealedSigningKey { kid: self.0.kid.clone(), sealed })
    }

    /// The key from what a store kept.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when the master key is another.
    pub fn open(stored: &SealedSigningKey, master: &MasterKey) -> Result<Self> {
        let pem = master.open(PURPOSE, &stored.sealed)?;
        let pem = std::str::from_utf8(pem.expose()).map_err(broken)?;
        Self::from_pem(pem)
    }

    /// The public half as a JSON Web Key (RFC 7517).
    pub(crate) fn jwk(&self) -> serde_json::Value {
        let Inner { kid, public: (n, e), .. } = self.0.as_ref();
        serde_json::json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e})
    }

    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.0.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.0.encoding).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot sign a token").with_source(error)
        })
    }

    /// The claims of a token that this key signed; when it ends is for the caller to check.
    pub(crate) fn verify<C: DeserializeOwned + Clone>(&self, token: &str) -> Option<C> {
        let mut rules = Validation::new(Algorithm::RS256);
        rules.validate_exp = false;
        rules.required_spec_claims.clear();
        jsonwebtoken::decode(token, &self.0.decoding, &rules).ok().map(|token| token.claims)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.0.kid).finish_non_exhaustive()
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Corrupt, "cannot read the signing key").with_source(error)
}
