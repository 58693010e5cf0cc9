use std::sync::Arc;

use super::{
    inbox::{Item, What},
    peers::Peer,
    row::{AnswerRow, CandidateRow, Row, Seq},
    state::{Scope, State},
};
use crate::rendezvous::{
    AddCandidates, Answer, AnswerOutcome, CandidatesAdded, Heartbeat, Millis, Realm, Role,
};

impl State {
    /// Also answers whom something was delivered to.
    pub(super) fn answer(&mut self, answer: Answer) -> (AnswerOutcome, Vec<Arc<str>>) {
        let Answer { realm, id, by, sdp, matched_topics, expires_at, now } = answer;
        self.move_to(now);
        let Some(seq) = self.find(&realm, &id) else {
            return (AnswerOutcome::NotFound, Vec::new());
        };
        if self.rows.get(&seq).is_none_or(|it| it.answer.is_some()) {
            return (AnswerOutcome::AlreadyAnswered, Vec::new());
        }
        if self.rows.get(&seq).is_some_and(|it| it.locked_until > now) {
            return (AnswerOutcome::Locked, Vec::new());
        }
        let floor = self.floor;
        let (_, scope) = self.scope(&realm);
        let by = scope.peer_name(&by);
        let answerer = scope.peers.entry(Arc::clone(&by)).or_insert_with(|| Peer::new(floor));
        answerer.answered.insert(seq);
        self.edit(seq, |row| {
            let answer = AnswerRow { by, sdp, at: now, matched_topics };
            row.answer = Some(Box::new(answer));
            row.expires_at = expires_at.unwrap_or(row.expires_at);
        });
        let (Some(row), Some(scope)) = (self.rows.get_mut(&seq), self.realms.get_mut(&realm))
        else {
            return (AnswerOutcome::NotFound, Vec::new());
        };
        let told = scope.deliver_answer(seq, row, now);
        (AnswerOutcome::Answered(Box::new(row.to_offer())), told)
    }

    pub(super) fn add_candidates(&mut self, add: AddCandidates) -> CandidatesAdded {
        let AddCandidates { realm, id, by, bodies, most_early, most, now } = add;
        self.move_to(now);
        let Some(seq) = self.find(&realm, &id) else { return CandidatesAdded::NotFound };
        let (Some(row), Some(scope)) = (self.rows.get_mut(&seq), self.realms.get_mut(&realm))
        else {
            return CandidatesAdded::NotFound;
        };
        let role = row.role_of(&by);
        let mut is_early = None;
        if role.is_none() {
            is_early = most_early.filter(|_| row.answer.is_none());
            if is_early.is_none() {
                return CandidatesAdded::NotAllowed;
            }
        }
        let there = row.candidates_by(&by).len();
        let is_too_many = |there: usize, most: u32| there + bodies.len() > most as usize;
        if is_too_many(there, most) || is_early.is_some_and(|it| is_too_many(row.early(), it)) {
            return CandidatesAdded::TooMany;
        }
        if bodies.is_empty() {
            let to = row.other_than(&by).map(|it| it.to_string());
            return CandidatesAdded::Added { to };
        }
        let rows = bodies.into_iter().map(|it| CandidateRow { body: it.into(), stamp: now });
        let by = if role == Some(Role::Offerer) { Arc::clone(&row.peer) } else { by.into() };
        row.candidates.entry(Arc::clone(&by)).or_default().extend(rows);
        let to = scope.deliver_candidates(seq, row, &by, there, now);
        CandidatesAdded::Added { to: to.map(|it| it.to_string()) }
    }

    pub(super) fn heartbeat(
        &mut self,
        realm: &Realm,
        id: &str,
        by: &str,
        now: Millis,
    ) -> Heartbeat {
        self.move_to(now);
        let Some(seq) = self.find(realm, id) else { return Heartbeat::NotFound };
        if self.rows.get(&seq).is_none_or(|it| *it.peer != *by) {
            return Heartbeat::NotAllowed;
        }
        self.edit(seq, |row| row.last_seen = row.last_seen.max(now));
        Heartbeat::Seen
    }

    pub(super) fn wrong_secret(
        &mut self,
        realm: &Realm,
        id: &str,
        most: u32,
        now: Millis,
        until: Millis,
    ) {
        self.move_to(now);
        let found = self.find(realm, id).and_then(|it| self.rows.get_mut(&it));
        let Some(row) = found else { return };
        row.wrong_secrets = row.wrong_secrets.saturating_add(1);
        if row.wrong_secrets >= most {
            row.wrong_secrets = 0;
            row.locked_until = until;
        }
    }

    pub(super) fn delete_offer(&mut self, realm: &Realm, id: &str, by: &str) -> bool {
        let seq = self.realms.get(realm).and_then(|it| it.ids.get(id)).copied();
        let seq = seq.filter(|it| self.rows.get(it).is_some_and(|row| *row.peer == *by));
        seq.and_then(|it| self.remove(it)).is_some()
    }

    pub(super) fn retag(&mut self, realm: &Realm, by: &str, topics: &[String], now: Millis) -> u64 {
        self.move_to(now);
        let Some(scope) = self.realms.get(realm) else { return 0 };
        let Some(peer) = scope.peers.get(by) else { return 0 };
        let topics: Box<[_]> = topics.iter().map(|it| scope.topics.name(it)).collect();
        let rows = peer.offers.iter().filter_map(|it| Some((*it, self.rows.get(it)?)));
        let open = rows.filter(|(_, row)| row.is_live(now) && row.answer.is_none());
        let open: Vec<Seq> = open.map(|(seq, _)| seq).collect();
        for seq in &open {
            self.edit(*seq, |row| row.topics.clone_from(&topics));
        }
        open.len() as u64
    }
}

impl Scope {
    /// Delivers the answer, and after it what came before it.
    fn deliver_answer(&mut self, seq: Seq, row: &mut Row, now: Millis) -> Vec<Arc<str>> {
        let Some(answer) = row.answer.as_mut() else { return Vec::new() };
        let (peer, by) = (Arc::clone(&row.peer), Arc::clone(&answer.by));
        if let Some(peer) = self.peers.get_mut(&peer) {
            answer.at = peer.next_stamp(now);
            peer.inbox.insert(answer.at, Item { seq, what: What::Answer });
        }
        if let Some(answerer) = self.peers.get_mut(&by) {
            // They learn when they answered, and may read on from there.
            answerer.saw(answer.at);
        }
        row.candidates.retain(|author, _| *author == peer || *author == by);
        let mut told = vec![Arc::clone(&peer)];
        self.deliver_candidates(seq, row, &by, 0, now);
        if !row.candidates_by(&peer).is_empty() {
            told.extend(self.deliver_candidates(seq, row, &peer, 0, now));
        }
        told
    }

    /// Delivers the candidates of this peer from that place on. Answers to whom.
    fn deliver_candidates(
        &mut self,
        seq: Seq,
        row: &mut Row,
        by: &str,
        from: usize,
        now: Millis,
    ) -> Option<Arc<str>> {
        let to = Arc::clone(row.other_than(by)?);
        let peer = self.peers.get_mut(&to)?;
        let candidates = row.candidates.get_mut(by).map_or(&mut [][..], Vec::as_mut_slice);
        for (at, candidate) in (0..).zip(candidates).skip(from) {
            candidate.stamp = peer.next_stamp(now);
            peer.inbox.insert(candidate.stamp, Item { seq, what: What::Candidate(at) });
        }
        Some(to)
    }
}
