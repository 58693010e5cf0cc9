use std::collections::BTreeSet;

use super::{inbox::Inbox, row::Seq};
use crate::rendezvous::Millis;

/// A peer that made an offer, or answered one.
#[derive(Debug)]
pub(super) struct Peer {
    /// The offers it made, oldest first.
    pub(super) offers: BTreeSet<Seq>,
    /// The offers it answered.
    pub(super) answered: BTreeSet<Seq>,
    /// How many of those it made are live.
    pub(super) live: u32,
    pub(super) inbox: Inbox,
    last_made: Millis,
    last_stamp: Millis,
}

impl Peer {
    /// One whose stamps are above this one.
    pub(super) fn new(floor: Millis) -> Self {
        Self {
            offers: BTreeSet::new(),
            answered: BTreeSet::new(),
            live: 0,
            inbox: Inbox::default(),
            last_made: Millis::MIN,
            last_stamp: floor,
        }
    }

    /// When an offer that is made now was made.
    pub(super) fn next_made(&mut self, now: Millis) -> Millis {
        self.last_made = now.max(self.last_made.saturating_add(1));
        self.last_made
    }

    /// The stamp of what is delivered now.
    pub(super) fn next_stamp(&mut self, now: Millis) -> Millis {
        self.last_stamp = now.max(self.last_stamp.saturating_add(1));
        self.last_stamp
    }

    /// Whatever is delivered from now on comes after this.
    pub(super) fn saw(&mut self, stamp: Millis) {
        self.last_stamp = self.last_stamp.max(stamp);
    }

    pub(super) const fn last_stamp(&self) -> Millis {
        self.last_stamp
    }

    /// Whether nothing is known of it but its last stamp.
    pub(super) fn is_gone(&self) -> bool {
        self.offers.is_empty() && self.answered.is_empty()
    }
}
