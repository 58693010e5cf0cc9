use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, btree_map},
    ops::Bound,
    sync::Arc,
};

use super::row::{Row, Seq};
use crate::rendezvous::{Millis, TopicCount, TopicOrder, TopicPage, TopicQuery};

/// When an offer was last seen, and its place: the one to be listed first is the least.
pub(super) type Place = Reverse<(Millis, Seq)>;

/// The topics of a realm that have open offers.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: BTreeMap<Arc<str>, Topic>,
    by_peers: BTreeSet<(Reverse<u64>, Arc<str>)>,
    /// By the name in lower case, and then the name.
    folded: BTreeSet<(Arc<str>, Arc<str>)>,
    /// All offers of all topics, by the number of the topic: one set takes much less memory than
    /// many small ones.
    offers: BTreeSet<(u64, Place)>,
    /// How many offers a peer has in a topic.
    peers: HashMap<(u64, Arc<str>), u32>,
    last_number: u64,
}

#[derive(Debug)]
struct Topic {
    number: u64,
    offers: u64,
    peers: u64,
}

impl Topics {
    /// Has the offer found under its topics.
    pub(super) fn add(&mut self, seq: Seq, row: &Row) {
        for name in &row.topics {
            let topic = match self.by_name.entry(Arc::clone(name)) {
                btree_map::Entry::Occupied(topic) => topic.into_mut(),
                btree_map::Entry::Vacant(free) => {
                    self.last_number += 1;
                    self.folded.insert((fold(name), Arc::clone(name)));
                    free.insert(Topic { number: self.last_number, offers: 0, peers: 0 })
                }
            };
            topic.offers += 1;
            self.offers.insert((topic.number, Reverse((row.last_seen, seq))));
            let of_peer = self.peers.entry((topic.number, Arc::clone(&row.peer))).or_default();
            *of_peer += 1;
            if *of_peer == 1 {
                self.by_peers.remove(&(Reverse(topic.peers), Arc::clone(name)));
                topic.peers += 1;
                self.by_peers.insert((Reverse(topic.peers), Arc::clone(name)));
            }
        }
    }

    /// Has it found no longer. It is as it was when it was added.
    pub(super) fn remove(&mut self, seq: Seq, row: &Row) {
        for name in &row.topics {
            let Some(topic) = self.by_name.get_mut(name) else { continue };
            topic.offers -= 1;
            self.offers.remove(&(topic.number, Reverse((row.last_seen, seq))));
            let key = (topic.number, Arc::clone(&row.peer));
            let of_peer = self.peers.get_mut(&key);
            let is_last = of_peer.is_some_and(|it| {
                *it -= 1;
                *it == 0
            });
            if is_last {
                self.peers.remove(&key);
                self.by_peers.remove(&(Reverse(topic.peers), Arc::clone(name)));
                topic.peers -= 1;
                if topic.peers > 0 {
                    self.by_peers.insert((Reverse(topic.peers), Arc::clone(name)));
                }
            }
            if topic.offers == 0 {
                self.by_name.remove(name);
                self.folded.remove(&(fold(name), Arc::clone(name)));
            }
        }
    }

    /// The name of a topic, shared with those who have it already.
    pub(super) fn name(&self, name: &str) -> Arc<str> {
        let known = self.by_name.get_key_value(name).map(|(known, _)| Arc::clone(known));
        known.unwrap_or_else(|| name.into())
    }

    /// How many open offers a topic has.
    pub(super) fn offers_in(&self, name: &str) -> u64 {
        self.by_name.get(name).map_or(0, |it| it.offers)
    }

    /// The offers of these topics, each once, the one last seen first.
    pub(super) fn offers_in_any(&self, names: &[String]) -> impl Iterator<Item = Seq> {
        let topics = names.iter().filter_map(|it| self.by_name.get(it.as_str()));
        let of = |number| {
            let ends = (Reverse((Millis::MAX, Seq::MAX)), Reverse((Millis::MIN, 0)));
            self.offers.range((number, ends.0)..=(number, ends.1)).map(|(_, place)| *place)
        };
        let mut lists: Vec<_> = topics.map(|it| of(it.number).peekable()).collect();
        std::iter::from_fn(move || {
            let next = lists.iter_mut().filter_map(|it| it.peek().copied()).min()?;
            for list in &mut lists {
                // A topic may be named twice, too.
                list.next_if_eq(&next);
            }
            Some(next.0.1)
        })
    }

    /// How much there is in a topic, without what is this peer's.
    pub(super) fn count(&self, name: &str, not_of: Option<&Arc<str>>) -> TopicCount {
        let empty = Topic { number: 0, offers: 0, peers: 0 };
        let topic = self.by_name.get(name).unwrap_or(&empty);
        let of_peer = not_of.and_then(|it| self.peers.get(&(topic.number, Arc::clone(it))));
        let of_peer = of_peer.copied().map_or(0, u64::from);
        TopicCount {
            topic: name.to_owned(),
            offers: topic.offers - of_peer,
            peers: topic.peers - u64::from(of_peer > 0),
        }
    }

    pub(super) fn page(&self, query: &TopicQuery) -> TopicPage {
        let count = |(name, topic): (&Arc<str>, &Topic)| TopicCount {
            topic: name.to_string(),
            offers: topic.offers,
            peers: topic.peers,
        };
        let total = self.by_name.len() as u64;
        let skip = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let take = query.limit as usize;
        if !query.prefix.is_empty() {
            return self.page_of_prefix(query);
        }
        if query.offset >= total {
            return TopicPage { topics: Vec::new(), total };
        }
        let topics = match query.order {
            TopicOrder::Name => self.by_name.iter().skip(skip).take(take).map(count).collect(),
            TopicOrder::MostPeers => {
                let names = self.by_peers.iter().skip(skip).take(take);
                names.filter_map(|(_, name)| self.by_name.get_key_value(name)).map(count).collect()
            }
        };
        TopicPage { topics, total }
    }

    fn page_of_prefix(&self, query: &TopicQuery) -> TopicPage {
        let prefix: Arc<str> = query.prefix.to_ascii_lowercase().into();
        let from = (Arc::clone(&prefix), Arc::from(""));
        let named = self.folded.range((Bound::Included(from), Bound::Unbounded));
        let named = named.take_while(|(folded, _)| folded.starts_with(&*prefix));
        let mut found: Vec<(Reverse<u64>, &Arc<str>, u64)> = named
            .filter_map(|(_, name)| self.by_name.get_key_value(name))
            .map(|(name, topic)| (Reverse(topic.peers), name, topic.offers))
            .collect();
        match query.order {
            TopicOrder::Name => found.sort_unstable_by_key(|(_, name, _)| *name),
            TopicOrder::MostPeers => found.sort_unstable(),
        }
        let total = found.len() as u64;
        let skip = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let page = found.into_iter().skip(skip).take(query.limit as usize);
        let topics = page
            .map(|(Reverse(peers), name, offers)| TopicCount {
                topic: name.to_string(),
                offers,
                peers,
            })
            .collect();
        TopicPage { topics, total }
    }
}

/// The name with ASCII letters in lower case.
fn fold(name: &Arc<str>) -> Arc<str> {
    if name.bytes().any(|it| it.is_ascii_uppercase()) {
        return name.to_ascii_lowercase().into();
    }
    Arc::clone(name)
}
