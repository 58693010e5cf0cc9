use std::fmt;

use crate::{Id, Secret};

/// The id of a [`Certificate`].
pub type CertificateId = Id<Certificate>;

/// A certificate chain with its private key.
#[derive(Clone)]
pub struct Certificate {
    /// The domain it is for.
    pub domain: String,
    /// The chain, leaf first, in PEM.
    pub certificate_pem: String,
    /// The key of the leaf, in PEM.
    pub private_key_pem: Secret<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain
            && self.certificate_pem == other.certificate_pem
            && self.private_key_pem.expose() == other.private_key_pem.expose()
            && self.expires_at == other.expires_at
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("domain", &self.domain).finish_non_exhaustive()
    }
}
