//! What rows are found by: hashes, as an index has no room for what clients may name things.

use uuid::Uuid;

use crate::rendezvous::{Nonce, Realm};

/// The keys of one realm.
#[derive(Debug)]
pub(super) struct Keys {
    realm: String,
}

impl Keys {
    pub(super) fn of(realm: &Realm) -> Self {
        Self { realm: realm.to_text() }
    }

    /// The name of the realm.
    pub(super) fn name(&self) -> &str {
        &self.realm
    }

    pub(super) fn realm(&self) -> Uuid {
        hash(&["realm", &self.realm])
    }

    pub(super) fn offer(&self, id: &str) -> Uuid {
        hash(&["offer", &self.realm, id])
    }

    pub(super) fn peer(&self, name: &str) -> Uuid {
        hash(&["peer", &self.realm, name])
    }

    pub(super) fn topic(&self, name: &str) -> Uuid {
        hash(&["topic", &self.realm, name])
    }

    /// Of topics, with one peer.
    pub(super) fn pairs(&self, names: &[String], peer: &str) -> Vec<Uuid> {
        names.iter().map(|it| hash(&["pair", &self.realm, it, peer])).collect()
    }

    pub(super) fn topics(&self, names: &[String]) -> Vec<Uuid> {
        names.iter().map(|it| self.topic(it)).collect()
    }
}

/// The key of what a peer signed.
pub(super) fn nonce(Nonce { key, nonce, expires_at: _ }: &Nonce) -> Uuid {
    hash(&["nonce", key.as_str(), &nonce.to_string()])
}

/// Of the parts, and of where each ends. 128 bits: that two come to the same does not happen.
fn hash(parts: &[&str]) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Uuid::from_bytes(bytes)
}
