use std::collections::BTreeMap;

use super::row::{Row, Seq};
use crate::rendezvous::{Delivered, Delivery, Millis};

/// What reached a peer, by its stamp.
#[derive(Debug, Default)]
pub(super) struct Inbox(BTreeMap<Millis, Item>);

#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) seq: Seq,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Answer,
    /// The one at this place among those of the other side.
    Candidate(u32),
}

impl Inbox {
    pub(super) fn insert(&mut self, stamp: Millis, item: Item) {
        self.0.insert(stamp, item);
    }

    pub(super) fn remove(&mut self, stamp: Millis) {
        self.0.remove(&stamp);
    }

    /// What came after this stamp.
    pub(super) fn after(&self, since: Millis) -> impl Iterator<Item = (Millis, Item)> {
        let from = since.checked_add(1);
        from.into_iter().flat_map(|from| self.0.range(from..)).map(|(stamp, item)| (*stamp, *item))
    }
}

/// What reached this peer, as it is told.
pub(super) fn delivery(row: &Row, to: &str, stamp: Millis, what: What) -> Option<Delivery> {
    let answer = row.answer.as_ref()?;
    let what = match what {
        What::Answer => Delivered::Answer {
            by: answer.by.to_string(),
            sdp: answer.sdp.clone(),
            matched_topics: answer.matched_topics.clone(),
        },
        What::Candidate(at) => {
            let from = row.other_than(to)?;
            let candidate = row.candidates_by(from).get(at as usize)?;
            Delivered::Candidate(row.to_candidate(from, candidate))
        }
    };
    Some(Delivery { stamp, offer: row.id.to_string(), what })
}
