use std::cmp::Reverse;

use super::{
    inbox,
    row::{Row, Seq},
    state::State,
};
use crate::rendezvous::{
    Candidate, Delivery, Millis, Offer, OfferFilter, OfferPage, OfferQuery, ReadCandidates, Realm,
    TopicCount, TopicPage, TopicQuery,
};

impl State {
    pub(super) fn offer(&mut self, realm: &Realm, id: &str, now: Millis) -> Option<Offer> {
        self.move_to(now);
        let row = self.find(realm, id).and_then(|it| self.rows.get(&it));
        row.map(Row::to_offer)
    }

    pub(super) fn offers_of(
        &mut self,
        realm: &Realm,
        peer: &str,
        filter: OfferFilter,
        now: Millis,
    ) -> Vec<Offer> {
        self.move_to(now);
        let peer = self.realms.get(realm).and_then(|it| it.peers.get(peer));
        let Some(peer) = peer else { return Vec::new() };
        let seqs = match filter {
            OfferFilter::All | OfferFilter::Open | OfferFilter::Answered => &peer.offers,
            OfferFilter::AnsweredByPeer => &peer.answered,
        };
        let is_asked_for = |row: &Row| match filter {
            OfferFilter::All => true,
            OfferFilter::Open => row.answer.is_none(),
            OfferFilter::Answered | OfferFilter::AnsweredByPeer => row.answer.is_some(),
        };
        let rows = seqs.iter().filter_map(|it| Some((*it, self.rows.get(it)?)));
        let rows = rows.filter(|(_, row)| row.is_live(now) && is_asked_for(row));
        let mut rows: Vec<(Seq, &Row)> = rows.collect();
        let at = |row: &Row| row.answer.as_ref().map(|it| it.at);
        rows.sort_unstable_by_key(|(seq, row)| match filter {
            OfferFilter::All | OfferFilter::Open => Reverse((Some(row.last_seen), *seq)),
            OfferFilter::Answered | OfferFilter::AnsweredByPeer => Reverse((at(row), *seq)),
        });
        rows.into_iter().map(|(_, row)| row.to_offer()).collect()
    }

    pub(super) fn offers_by_topic(&mut self, query: &OfferQuery) -> OfferPage {
        self.move_to(query.now);
        let Some(scope) = self.realms.get(&query.realm) else { return OfferPage::default() };
        let total = query.topics.first().map_or(0, |it| scope.topics.offers_in(it));
        let is_excluded = |row: &Row| {
            query.not_of.as_ref().is_some_and(|it| **it == *row.peer)
                || query.excluded.as_ref().is_some_and(|it| it.contains(&row.peer))
        };
        let found = scope.topics.offers_in_any(&query.topics);
        let rows = found.filter_map(|it| self.rows.get(&it)).filter(|it| !is_excluded(it));
        let page = rows.skip(query.offset as usize).take(query.limit as usize);
        OfferPage { offers: page.map(Row::to_offer).collect(), total }
    }

    pub(super) fn topics(&mut self, query: &TopicQuery) -> TopicPage {
        self.move_to(query.now);
        let scope = self.realms.get(&query.realm);
        scope.map(|it| it.topics.page(query)).unwrap_or_default()
    }

    pub(super) fn topic_counts(
        &mut self,
        realm: &Realm,
        topics: &[String],
        not_of: Option<&str>,
        now: Millis,
    ) -> Vec<TopicCount> {
        self.move_to(now);
        let empty = |it: &String| TopicCount { topic: it.clone(), offers: 0, peers: 0 };
        let Some(scope) = self.realms.get(realm) else {
            return topics.iter().map(empty).collect();
        };
        let not_of = not_of.and_then(|it| scope.peers.get_key_value(it)).map(|(name, _)| name);
        topics.iter().map(|it| scope.topics.count(it, not_of)).collect()
    }

    pub(super) fn candidates(
        &mut self,
        realm: &Realm,
        id: &str,
        by: &str,
        since: Millis,
        now: Millis,
    ) -> ReadCandidates {
        self.move_to(now);
        let row = self.find(realm, id).and_then(|it| self.rows.get(&it));
        let Some(row) = row else { return ReadCandidates::NotFound };
        if row.role_of(by).is_none() {
            return ReadCandidates::NotAllowed;
        }
        let Some(other) = row.other_than(by) else { return ReadCandidates::Read(Vec::new()) };
        let all = row.candidates_by(other);
        let from = all.partition_point(|it| it.stamp <= since);
        ReadCandidates::Read(all[from..].iter().map(|it| row.to_candidate(other, it)).collect())
    }

    pub(super) fn candidates_of(
        &mut self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Vec<Candidate> {
        self.move_to(now);
        let row = self.find(realm, id).and_then(|it| self.rows.get(&it));
        let Some(row) = row else { return Vec::new() };
        row.candidates_by(by).iter().map(|it| row.to_candidate(by, it)).collect()
    }

    pub(super) fn deliveries(
        &mut self,
        realm: &Realm,
        to: &str,
        since: Millis,
        limit: u32,
        now: Millis,
    ) -> Vec<Delivery> {
        self.move_to(now);
        let peer = self.realms.get(realm).and_then(|it| it.peers.get(to));
        let Some(peer) = peer else { return Vec::new() };
        let told = peer.inbox.after(since).filter_map(|(stamp, item)| {
            let row = self.rows.get(&item.seq).filter(|it| it.is_live(now))?;
            inbox::delivery(row, to, stamp, item.what)
        });
        told.take(limit as usize).collect()
    }

    pub(super) fn count(&self, realm: &Realm) -> u64 {
        self.realms.get(realm).map_or(0, |it| it.ids.len() as u64)
    }
}
