use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use super::{
    nonces::Nonces,
    peers::Peer,
    row::{Row, Seq},
    topics::Topics,
};
use crate::rendezvous::{Millis, Realm};

/// All that is kept.
#[derive(Debug)]
pub(super) struct State {
    /// The moment of which topics and counts are: an offer counts there when it expires later.
    pub(super) at: Millis,
    pub(super) last_seq: Seq,
    pub(super) rows: HashMap<Seq, Row>,
    pub(super) expiries: BTreeSet<(Millis, Seq)>,
    pub(super) realms: HashMap<Arc<Realm>, Scope>,
    /// How many offers are live.
    pub(super) live: u64,
    pub(super) nonces: Nonces,
    /// Peers that are gone, by their last stamp. They are forgotten once it has passed.
    pub(super) gone: BTreeSet<(Millis, Arc<Realm>, Arc<str>)>,
    /// The highest last stamp of a peer that was forgotten. Should the clock be put back, whoever
    /// comes is taken for that peer.
    pub(super) floor: Millis,
}

/// What is in a realm.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) ids: HashMap<Arc<str>, Seq>,
    pub(super) peers: HashMap<Arc<str>, Peer>,
    pub(super) topics: Topics,
}

impl Default for State {
    fn default() -> Self {
        Self {
            at: Millis::MIN,
            last_seq: 0,
            rows: HashMap::new(),
            expiries: BTreeSet::new(),
            realms: HashMap::new(),
            live: 0,
            nonces: Nonces::default(),
            gone: BTreeSet::new(),
            floor: Millis::MIN,
        }
    }
}

impl State {
    /// Has topics and counts be of this moment. The clock may have been put back, too.
    pub(super) fn move_to(&mut self, now: Millis) {
        let (from, to) = (self.at.min(now), self.at.max(now));
        let passed = (Bound::Excluded((from, Seq::MAX)), Bound::Included((to, Seq::MAX)));
        let passed: Vec<Seq> = self.expiries.range(passed).map(|(_, seq)| *seq).collect();
        if now > self.at {
            passed.into_iter().for_each(|seq| self.hide(seq));
            self.at = now;
            self.forget();
        } else {
            self.at = now;
            passed.into_iter().for_each(|seq| self.show(seq));
        }
    }

    /// A live offer of this id.
    pub(super) fn find(&self, realm: &Realm, id: &str) -> Option<Seq> {
        let seq = *self.realms.get(realm)?.ids.get(id)?;
        self.rows.get(&seq).filter(|it| it.is_live(self.at)).map(|_| seq)
    }

    /// Counts an offer where live ones are counted, if it is live.
    pub(super) fn show(&mut self, seq: Seq) {
        let Some(row) = self.rows.get(&seq).filter(|it| it.is_live(self.at)) else { return };
        let Some(scope) = self.realms.get_mut(&row.realm) else { return };
        self.live += 1;
        if let Some(peer) = scope.peers.get_mut(&row.peer) {
            peer.live += 1;
        }
        if row.answer.is_none() {
            scope.topics.add(seq, row);
        }
    }

    /// Takes back what [`show`](Self::show) did.
    pub(super) fn hide(&mut self, seq: Seq) {
        let Some(row) = self.rows.get(&seq).filter(|it| it.is_live(self.at)) else { return };
        let Some(scope) = self.realms.get_mut(&row.realm) else { return };
        self.live -= 1;
        if let Some(peer) = scope.peers.get_mut(&row.peer) {
            peer.live -= 1;
        }
        if row.answer.is_none() {
            scope.topics.remove(seq, row);
        }
    }

    /// Changes an offer, and all that depends on what is changed.
    pub(super) fn edit(&mut self, seq: Seq, change: impl FnOnce(&mut Row)) {
        self.hide(seq);
        if let Some(row) = self.rows.get_mut(&seq) {
            self.expiries.remove(&(row.expires_at, seq));
            change(row);
            self.expiries.insert((row.expires_at, seq));
        }
        self.show(seq);
    }

    /// The realm, and its key to share.
    pub(super) fn scope(&mut self, realm: &Realm) -> (Arc<Realm>, &mut Scope) {
        let known = self.realms.get_key_value(realm).map(|(key, _)| Arc::clone(key));
        let key = known.unwrap_or_else(|| Arc::new(realm.clone()));
        (Arc::clone(&key), self.realms.entry(key).or_default())
    }

    /// Takes an offer away, with all that belongs to it.
    pub(super) fn remove(&mut self, seq: Seq) -> Option<Row> {
        self.hide(seq);
        let row = self.rows.remove(&seq)?;
        self.expiries.remove(&(row.expires_at, seq));
        let scope = self.realms.get_mut(&row.realm)?;
        scope.ids.remove(&row.id);
        if let Some(peer) = scope.peers.get_mut(&row.peer) {
            peer.offers.remove(&seq);
        }
        if let Some(answer) = &row.answer {
            if let Some(peer) = scope.peers.get_mut(&row.peer) {
                peer.inbox.remove(answer.at);
            }
            if let Some(peer) = scope.peers.get_mut(&answer.by) {
                peer.answered.remove(&seq);
            }
            for (by, candidates) in &row.candidates {
                let to = row.other_than(by).and_then(|it| scope.peers.get_mut(it));
                let Some(to) = to else { continue };
                candidates.iter().for_each(|it| to.inbox.remove(it.stamp));
            }
        }
        for name in [Some(&row.peer), row.answerer()].into_iter().flatten() {
            if let Some(peer) = scope.peers.get(name).filter(|it| it.is_gone()) {
                self.gone.insert((peer.last_stamp(), Arc::clone(&row.realm), Arc::clone(name)));
            }
        }
        self.forget();
        Some(row)
    }

    /// Forgets peers that are gone and whose last stamp has passed.
    fn forget(&mut self) {
        while self.gone.first().is_some_and(|(stamp, ..)| *stamp < self.at) {
            let Some((stamp, realm, name)) = self.gone.pop_first() else { return };
            let Some(scope) = self.realms.get_mut(&realm) else { continue };
            // It may have come back.
            let is_gone = |peer: &Peer| peer.is_gone() && peer.last_stamp() == stamp;
            if scope.peers.get(&name).is_some_and(is_gone) {
                scope.peers.remove(&name);
                self.floor = self.floor.max(stamp);
            }
            if scope.peers.is_empty() && scope.ids.is_empty() {
                self.realms.remove(&realm);
            }
        }
    }
}
