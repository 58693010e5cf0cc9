use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use uuid::Uuid;

use crate::rendezvous::{Millis, Nonce};

type Key = (Arc<str>, Uuid);

/// What was signed, until it is too old.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    until: HashMap<Key, Millis>,
    expiries: BTreeSet<(Millis, Key)>,
}

impl Nonces {
    /// Whether it was not used before.
    pub(super) fn take(&mut self, nonce: &Nonce, now: Millis) -> bool {
        // Two for one: however fast they come, those that have expired do not pile up.
        self.sweep(now, 2);
        let key: Key = (nonce.key.as_str().into(), nonce.nonce);
        let kept = self.until.get(&key).copied();
        if kept.is_some_and(|until| until > now) {
            return false;
        }
        if let Some(until) = kept {
            self.expiries.remove(&(until, key.clone()));
        }
        self.until.insert(key.clone(), nonce.expires_at);
        self.expiries.insert((nonce.expires_at, key));
        true
    }

    pub(super) fn sweep(&mut self, now: Millis, most: u32) {
        for _ in 0..most {
            if self.expiries.first().is_none_or(|(until, _)| *until > now) {
                return;
            }
            if let Some((_, key)) = self.expiries.pop_first() {
                self.until.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::PublicKey;

    #[test]
    fn those_that_expired_do_not_pile_up_between_sweeps() {
        let mut nonces = Nonces::default();
        let key = PublicKey::parse("a".repeat(64)).unwrap();
        for number in 0..10_000 {
            let now = number / 100;
            let nonce = Uuid::from_u128(number as u128);
            assert!(nonces.take(&Nonce { key: key.clone(), nonce, expires_at: now + 3 }, now));
        }
        assert!(nonces.until.len() <= 400, "{}", nonces.until.len());
        assert_eq!(nonces.until.len(), nonces.expiries.len());
    }
}
