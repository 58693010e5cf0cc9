//! What a store of rendezvous is like, as simply as it can be written: lists, and each answer worked
//! out anew from all that there is.

use std::collections::{BTreeMap, BTreeSet};

use super::given::Millis;
use crate::rendezvous::{
    Candidate, Delivered, Delivery, NewOffer, Offer, OfferFilter, OfferPage, OfferQuery, Publish,
    PublishOutcome, ReadCandidates, Realm, Role, TopicCount, TopicOrder, TopicPage, TopicQuery,
};

/// All that there is.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: Vec<Row>,
    made: u64,
    /// The highest figure an offer of a peer ever had.
    last_made: BTreeMap<(Realm, String), Millis>,
    /// The last stamp of each peer.
    stamps: BTreeMap<(Realm, String), Millis>,
    nonces: BTreeMap<(String, u128), Millis>,
}

/// An offer, until it is known to be swept.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) realm: Realm,
    seq: u64,
    pub(super) offer: Offer,
    pub(super) candidates: Vec<Candidate>,
}

impl Row {
    pub(super) const fn is_live(&self, now: Millis) -> bool {
        self.offer.expires_at > now
    }

    pub(super) fn answerer(&self) -> Option<&str> {
        self.offer.answered.as_ref().map(|it| it.by.as_str())
    }

    pub(super) fn role(&self, peer: &str) -> Option<Role> {
        if self.offer.peer == peer {
            return Some(Role::Offerer);
        }
        (self.answerer() == Some(peer)).then_some(Role::Answerer)
    }

    /// Whom it is that this peer's candidates go to: nobody, if it answered its own offer.
    pub(super) fn other(&self, peer: &str) -> Option<&str> {
        let other = match self.role(peer)? {
            Role::Offerer => self.answerer(),
            Role::Answerer => Some(self.offer.peer.as_str()),
        };
        other.filter(|it| *it != peer)
    }

    pub(super) fn by(&self, peer: &str) -> Vec<Candidate> {
        self.candidates.iter().filter(|it| it.peer == peer).cloned().collect()
    }

    fn has(&self, topic: &str) -> bool {
        self.offer.topics.iter().any(|it| it == topic)
    }

    fn is_same(&self, peer: &str, new: &NewOffer) -> bool {
        let topics = |of: &[String]| of.iter().cloned().collect::<BTreeSet<_>>();
        let same = self.offer.sdp == new.sdp && topics(&self.offer.topics) == topics(&new.topics);
        self.offer.peer == peer && same
    }
}

impl Model {
    pub(super) fn live(&mut self, realm: &Realm, id: &str, now: Millis) -> Option<&mut Row> {
        let mut rows = self.rows.iter_mut();
        rows.find(|it| it.realm == *realm && it.offer.id == id && it.is_live(now))
    }

    fn all<'a>(&'a self, realm: &'a Realm, now: Millis) -> impl Iterator<Item = &'a Row> + Clone {
        self.rows.iter().filter(move |it| it.realm == *realm && it.is_live(now))
    }

    fn open<'a>(&'a self, realm: &'a Realm, now: Millis) -> impl Iterator<Item = &'a Row> + Clone {
        self.all(realm, now).filter(|it| it.offer.answered.is_none())
    }

    /// Takes over what was answered, once it has been found to be right.
    pub(super) fn publish(&mut self, publish: &Publish, outcome: &PublishOutcome) {
        let Publish { realm, peer, offers, now, quota } = publish;
        let mut new = BTreeMap::new();
        let mut taken = Vec::new();
        for offer in offers {
            let there = self.live(realm, &offer.id, *now);
            if let Some(row) = there {
                if !row.is_same(peer, offer) {
                    taken.push(offer.id.clone());
                }
            } else {
                new.insert(offer.id.clone(), ());
            }
        }
        let of_peer = self.all(realm, *now).filter(|it| it.offer.peer == *peer).count();
        let too_many = !new.is_empty() && of_peer + new.len() > quota.of_peer as usize;
        match outcome {
            PublishOutcome::Taken(id) => assert!(taken.contains(id), "{id} is not taken"),
            PublishOutcome::TooManyOfPeer => assert!(too_many, "{of_peer} are not too many"),
            PublishOutcome::Full => panic!("it is not full"),
            PublishOutcome::Published(published) => {
                assert!(taken.is_empty(), "{taken:?} are taken");
                assert!(!too_many, "{of_peer} and {} are too many", new.len());
                assert_eq!(published.len(), offers.len());
                for (offer, published) in offers.iter().zip(published) {
                    let created_at = self.put(realm, peer, offer, published.created_at, *now);
                    let told = (published.created_at, published.expires_at);
                    assert_eq!(told, (created_at, offer.expires_at));
                }
            }
        }
    }

    fn put(
        &mut self,
        realm: &Realm,
        peer: &str,
        new: &NewOffer,
        told: Millis,
        now: Millis,
    ) -> Millis {
        if let Some(row) = self.live(realm, &new.id, now) {
            row.offer.expires_at = new.expires_at;
            row.offer.last_seen = now;
            row.offer.info.clone_from(&new.info);
            row.offer.secret.clone_from(&new.secret);
            return row.offer.created_at;
        }
        self.rows.retain(|it| it.realm != *realm || it.offer.id != new.id);
        let of_peer = self.all(realm, now).filter(|it| it.offer.peer == peer);
        let newest = of_peer.map(|it| it.offer.created_at + 1).max().unwrap_or(now);
        let last = self.last_made.entry((realm.clone(), peer.to_owned())).or_insert(now - 1);
        let bounds = now.max(newest)..=now.max(*last + 1);
        assert!(bounds.contains(&told), "made at {told}, which is not in {bounds:?}");
        *last = told.max(*last);
        self.made += 1;
        let offer = Offer {
            id: new.id.clone(),
            peer: peer.to_owned(),
            sdp: new.sdp.clone(),
            topics: new.topics.clone(),
            info: new.info.clone(),
            secret: new.secret.clone(),
            created_at: told,
            last_seen: now,
            expires_at: new.expires_at,
            answered: None,
            wrong_secrets: 0,
            locked_until: 0,
        };
        let (realm, candidates) = (realm.clone(), Vec::new());
        self.rows.push(Row { realm, seq: self.made, offer, candidates });
        told
    }

    /// Notes a stamp that a peer was given, which has to be above all before it.
    pub(super) fn stamp(&mut self, realm: &Realm, peer: &str, stamp: Millis, now: Millis) {
        let highest = self.stamps.values().copied().max().unwrap_or(now);
        let last = self.stamps.entry((realm.clone(), peer.to_owned())).or_insert(Millis::MIN);
        assert!(stamp > *last, "{stamp} to {peer} after {last}");
        assert!(stamp >= now, "{stamp} is before {now}");
        assert!(stamp <= highest.max(now) + 1, "{stamp} is far ahead of {now}");
        *last = stamp;
    }

    pub(super) fn use_nonce(
        &mut self,
        key: &str,
        nonce: u128,
        until: Millis,
        now: Millis,
        told: bool,
    ) {
        let kept = self.nonces.get(&(key.to_owned(), nonce)).copied();
        // One that has expired may be kept for longer.
        let free = kept.is_none_or(|it| it <= now);
        assert!(!told || free, "it was used, and is kept until {kept:?}");
        assert!(told || kept.is_some(), "it was not used");
        if told {
            self.nonces.insert((key.to_owned(), nonce), until);
        }
    }

    pub(super) fn offers_of(
        &self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Vec<Offer> {
        let wanted = self.all(realm, now).filter(|it| match filter {
            OfferFilter::All => it.offer.peer == peer,
            OfferFilter::Open => it.offer.peer == peer && it.offer.answered.is_none(),
            OfferFilter::Answered => it.offer.peer == peer && it.offer.answered.is_some(),
            OfferFilter::AnsweredByPeer => it.answerer() == Some(peer),
        });
        let mut wanted: Vec<_> = wanted.map(|it| it.offer.clone()).collect();
        sort(&mut wanted, filter);
        wanted
    }

    pub(super) fn offers_by_topic(&self, query: &OfferQuery) -> OfferPage {
        let OfferQuery { realm, topics, not_of, excluded, offset, limit, now } = query;
        let open = self.open(realm, *now);
        let total = open.clone().filter(|it| topics.first().is_some_and(|topic| it.has(topic)));
        let total = total.count() as u64;
        let wanted = open.filter(|it| topics.iter().any(|topic| it.has(topic)));
        let wanted = wanted.filter(|it| not_of.as_ref() != Some(&it.offer.peer));
        let is_out = |it: &&Row| excluded.as_ref().is_some_and(|of| of.contains(&it.offer.peer));
        let mut wanted: Vec<_> = wanted.filter(|it| !is_out(it)).collect();
        wanted.sort_by_key(|it| std::cmp::Reverse((it.offer.last_seen, it.seq)));
        let page = wanted.into_iter().skip(*offset as usize).take(*limit as usize);
        OfferPage { offers: page.map(|it| it.offer.clone()).collect(), total }
    }

    pub(super) fn topics(&self, query: &TopicQuery) -> TopicPage {
        let TopicQuery { realm, prefix, order, offset, limit, now } = query;
        let names: BTreeSet<_> = self.open(realm, *now).flat_map(|it| &it.offer.topics).collect();
        let prefix = prefix.to_ascii_lowercase();
        let names = names.into_iter().filter(|it| it.to_ascii_lowercase().starts_with(&prefix));
        let names: Vec<String> = names.cloned().collect();
        let mut topics = self.topic_counts(realm, &names, None, *now);
        if *order == TopicOrder::MostPeers {
            topics.sort_by_key(|it| std::cmp::Reverse(it.peers));
        }
        let total = topics.len() as u64;
        let page = topics.into_iter().skip(*offset as usize).take(*limit as usize);
        TopicPage { topics: page.collect(), total }
    }

    pub(super) fn topic_counts(
        &self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Vec<TopicCount> {
        let count = |topic: &String| {
            let there = self.open(realm, now).filter(|it| it.has(topic));
            let there = there.filter(|it| not_of != Some(it.offer.peer.as_str()));
            let peers: BTreeSet<_> = there.clone().map(|it| &it.offer.peer).collect();
            let (offers, peers) = (there.count() as u64, peers.len() as u64);
            TopicCount { topic: topic.clone(), offers, peers }
        };
        topics.iter().map(count).collect()
    }

    pub(super) fn candidates(
        &self,
        realm: &Realm,
        id: &str,
        by: &str,
        since: Millis,
        now: Millis,
    ) -> ReadCandidates {
        let Some(row) = self.all(realm, now).find(|it| it.offer.id == id) else {
            return ReadCandidates::NotFound;
        };
        if row.role(by).is_none() {
            return ReadCandidates::NotAllowed;
        }
        let others = row.other(by).map(|it| row.by(it)).unwrap_or_default();
        ReadCandidates::Read(others.into_iter().filter(|it| it.stamp > since).collect())
    }

    /// What reached a peer.
    pub(super) fn deliveries(
        &self,
        realm: &Realm,
        to: &str,
        since: Millis,
        now: Millis,
    ) -> Vec<Delivery> {
        let mut reached = Vec::new();
        for row in self.all(realm, now) {
            let Some(answered) = &row.offer.answered else { continue };
            let id = &row.offer.id;
            if row.offer.peer == to {
                let what = Delivered::Answer {
                    by: answered.by.clone(),
                    sdp: answered.sdp.clone(),
                    matched_topics: answered.matched_topics.clone(),
                };
                reached.push(Delivery { stamp: answered.at, offer: id.clone(), what });
            }
            let to_peer = row.candidates.iter().filter(|it| row.other(&it.peer) == Some(to));
            reached.extend(to_peer.map(|it| Delivery {
                stamp: it.stamp,
                offer: id.clone(),
                what: Delivered::Candidate(it.clone()),
            }));
        }
        reached.retain(|it| it.stamp > since);
        reached.sort_by_key(|it| it.stamp);
        reached
    }

    /// How many there are, not swept: at least, and at most.
    pub(super) fn count(&self, realm: &Realm, now: Millis) -> (u64, u64) {
        let there = self.rows.iter().filter(|it| it.realm == *realm).count();
        (self.all(realm, now).count() as u64, there as u64)
    }
}

/// In the order in which they are listed. Those that were answered together are in no order.
pub(super) fn sort(offers: &mut [Offer], filter: OfferFilter) {
    let at = |it: &Offer| it.answered.as_ref().map(|it| it.at);
    match filter {
        OfferFilter::All | OfferFilter::Open => {
            offers.sort_by_key(|it| std::cmp::Reverse((it.last_seen, it.created_at)));
        }
        OfferFilter::Answered | OfferFilter::AnsweredByPeer => {
            offers.sort_by_key(|it| std::cmp::Reverse((at(it), it.id.clone())));
        }
    }
}
