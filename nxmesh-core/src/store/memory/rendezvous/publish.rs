use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    peers::Peer,
    row::{Row, Seq},
    state::{Scope, State},
};
use crate::rendezvous::{Millis, NewOffer, Publish, PublishOutcome, Published, Realm};

impl State {
    /// Also answers the ids of those that are new, with their topics.
    pub(super) fn publish(
        &mut self,
        publish: &Publish,
    ) -> (PublishOutcome, Vec<(String, Vec<String>)>) {
        let Publish { realm, peer, offers, now, quota } = publish;
        self.move_to(*now);
        let new = match self.new_ones(realm, peer, offers) {
            Ok(new) => new,
            Err(taken) => return (PublishOutcome::Taken(taken.to_owned()), Vec::new()),
        };
        let of_peer = self.realms.get(realm).and_then(|it| it.peers.get(peer.as_str()));
        let of_peer = of_peer.map_or(0, |it| it.live) as usize;
        if !new.is_empty() && of_peer + new.len() > quota.of_peer as usize {
            return (PublishOutcome::TooManyOfPeer, Vec::new());
        }
        if !new.is_empty() && self.live + new.len() as u64 > quota.of_all {
            return (PublishOutcome::Full, Vec::new());
        }
        let told = new.into_iter().map(|it| (it.id.clone(), it.topics.clone())).collect();
        let seqs: Vec<Seq> = offers.iter().map(|it| self.put(realm, peer, it, *now)).collect();
        let rows = seqs.iter().filter_map(|it| self.rows.get(it));
        let published =
            rows.map(|it| Published { created_at: it.created_at, expires_at: it.expires_at });
        (PublishOutcome::Published(published.collect()), told)
    }

    /// Those that are not there yet, or the id that is taken.
    fn new_ones<'a>(
        &self,
        realm: &Realm,
        peer: &str,
        offers: &'a [NewOffer],
    ) -> Result<Vec<&'a NewOffer>, &'a str> {
        let mut new = HashMap::<&str, &NewOffer>::new();
        let mut in_order = Vec::new();
        for offer in offers {
            let there = self.find(realm, &offer.id).and_then(|it| self.rows.get(&it));
            let before = new.get(offer.id.as_str());
            let fits = match (there, before) {
                (Some(row), _) => row.is_same(peer, offer),
                (None, Some(before)) => is_same(before, offer),
                (None, None) => {
                    new.insert(&offer.id, offer);
                    in_order.push(offer);
                    true
                }
            };
            if !fits {
                return Err(&offer.id);
            }
        }
        Ok(in_order)
    }

    /// Makes an offer, or renews the one that is there.
    fn put(&mut self, realm: &Realm, peer: &str, offer: &NewOffer, now: Millis) -> Seq {
        if let Some(seq) = self.find(realm, &offer.id) {
            self.edit(seq, |row| {
                row.expires_at = offer.expires_at;
                row.last_seen = row.last_seen.max(now);
                row.info = offer.info.as_deref().map(Into::into);
                row.secret = offer.secret.clone();
            });
            return seq;
        }
        let expired = self.realms.get(realm).and_then(|it| it.ids.get(offer.id.as_str()));
        if let Some(expired) = expired.copied() {
            self.remove(expired);
        }
        self.last_seq += 1;
        let (seq, floor) = (self.last_seq, self.floor);
        let (realm, scope) = self.scope(realm);
        let name = scope.peer_name(peer);
        let of_peer = scope.peers.entry(Arc::clone(&name)).or_insert_with(|| Peer::new(floor));
        of_peer.offers.insert(seq);
        let created_at = of_peer.next_made(now);
        let id: Arc<str> = offer.id.as_str().into();
        scope.ids.insert(Arc::clone(&id), seq);
        let topics = offer.topics.iter().map(|it| scope.topics.name(it)).collect();
        let row = Row {
            realm,
            id,
            peer: name,
            sdp: Arc::clone(&offer.sdp),
            topics,
            info: offer.info.as_deref().map(Into::into),
            secret: offer.secret.clone(),
            created_at,
            last_seen: now,
            expires_at: offer.expires_at,
            answer: None,
            wrong_secrets: 0,
            locked_until: 0,
            candidates: BTreeMap::new(),
        };
        self.expiries.insert((row.expires_at, seq));
        self.rows.insert(seq, row);
        self.show(seq);
        seq
    }
}

impl Scope {
    /// The name of a peer, shared with those who have it already.
    pub(super) fn peer_name(&self, name: &str) -> Arc<str> {
        let known = self.peers.get_key_value(name).map(|(known, _)| Arc::clone(known));
        known.unwrap_or_else(|| name.into())
    }
}

/// Whether one is the other, once more.
fn is_same(one: &NewOffer, other: &NewOffer) -> bool {
    let topics = |of: &NewOffer| of.topics.iter().cloned().collect::<HashSet<_>>();
    one.sdp == other.sdp && topics(one) == topics(other)
}
