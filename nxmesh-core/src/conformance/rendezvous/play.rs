//! Random calls on a store, with all that it answers compared with the model.

#![expect(missing_docs, clippy::unwrap_used, reason = "the names say it, and they panic to fail")]

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

use super::{
    given::{Millis, NO_QUOTA, NOW, Store, ok},
    model::{Model, sort},
};
use crate::{
    rendezvous::{
        AddCandidates, Answer, AnswerOutcome, Answered, Candidate, CandidatesAdded, Heartbeat,
        NewOffer, Nonce, OfferFilter, OfferQuery, PeerFilter, PublicKey, Publish, Quota, Realm,
        Role, TopicOrder, TopicQuery,
    },
    tenancy::Sealed,
};

const PEERS: [&str; 5] = ["ann", "bob", "cem", "dan", "Ann"];
const IDS: [&str; 9] = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
const TOPICS: [&str; 7] = ["a", "A", "ab", "aB", "b", "b%", "é"];
const PREFIXES: [&str; 6] = ["", "a", "AB", "b", "b_", "é"];
const FILTERS: [OfferFilter; 4] =
    [OfferFilter::All, OfferFilter::Open, OfferFilter::Answered, OfferFilter::AnsweredByPeer];
const REALMS: [Realm; 2] = [Realm::Offers, Realm::Rpc];

/// A store beside its model.
struct Play<'a> {
    store: &'a Store,
    model: Model,
    random: StdRng,
    now: Millis,
}

pub async fn whatever_is_called_the_answers_are_those_of_the_model(store: &Store) {
    play(store, 1, 500).await;
}

pub async fn calls_that_nobody_made_before_are_answered_as_by_the_model(store: &Store) {
    play(store, rand::random(), 500).await;
}

/// Plays so many random calls, with reads after each, on a store that is empty.
pub async fn play(store: &Store, seed: u64, calls: usize) {
    // What fails is told with this; it is printed only then.
    println!("played with seed {seed}");
    let random = StdRng::seed_from_u64(seed);
    let mut play = Play { store, model: Model::default(), random, now: NOW };
    for call in 0..calls {
        play.now += [0, 0, 0, 1, 2, 20][play.random.random_range(0..6)];
        play.call().await;
        let all = call % 40 == 39;
        play.compare(if all { 60 } else { 6 }).await;
    }
}

impl Play<'_> {
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.random).unwrap().clone()
    }

    fn text(&mut self, of: &[&str]) -> String {
        self.pick(of).to_owned()
    }

    fn some_topics(&mut self, least: usize) -> Vec<String> {
        let many = self.random.random_range(least..=4);
        let topics: Vec<_> = TOPICS.sample(&mut self.random, many).copied().collect();
        topics.into_iter().map(str::to_owned).collect()
    }

    /// A peer: each so many times one that has a part in this offer.
    fn one_of(&mut self, realm: &Realm, id: &str, times: u32) -> String {
        let peer = self.text(&PEERS);
        if self.random.random_ratio(times - 1, times) {
            return peer;
        }
        let Some(row) = self.model.live(realm, id, self.now) else { return peer };
        let peer = row.offer.peer.as_str();
        let parts = [peer, row.answerer().unwrap_or(peer)].map(str::to_owned);
        self.pick(&parts)
    }

    async fn call(&mut self) {
        match self.random.random_range(0..24) {
            0..=6 => self.publish().await,
            7..=9 => self.answer().await,
            10..=14 => self.add_candidates().await,
            15 | 16 => self.heartbeat().await,
            17 => self.wrong_secret().await,
            18 => self.delete().await,
            19 => self.retag().await,
            20 => self.use_nonces().await,
            _ => self.sweep().await,
        }
    }

    async fn publish(&mut self) {
        let many = self.random.random_range(1..=3);
        let ids: Vec<_> = IDS.sample(&mut self.random, many).copied().collect();
        let mut offers = Vec::new();
        for id in ids {
            // Mostly what was there before, so that some are published twice.
            let known = self.model.rows.iter().find(|it| it.offer.id == id).cloned();
            let known = known.filter(|_| self.random.random());
            let topics = self.some_topics(1);
            let info = self.random.random_ratio(1, 3).then(|| "about it".to_owned());
            let secret = self.random.random_ratio(1, 3).then(|| Sealed::from_bytes(vec![0, 255]));
            let sdp = self.pick(&["v=0", "v=1"]).into();
            let expires_at = self.now + self.random.random_range(1..300);
            let mut new = NewOffer { id: id.to_owned(), sdp, topics, info, secret, expires_at };
            if let Some(known) = known {
                (new.sdp, new.topics) = (known.offer.sdp, known.offer.topics);
                if self.random.random() {
                    new.topics.reverse();
                }
            }
            offers.push(new);
        }
        let quota = if self.random.random_ratio(1, 5) {
            Quota { of_peer: 2, ..NO_QUOTA }
        } else {
            NO_QUOTA
        };
        let (realm, peer) = (self.pick(&REALMS), self.text(&PEERS));
        let publish = Publish { realm, peer, offers, now: self.now, quota };
        let outcome = ok(self.store.publish(publish.clone()).await);
        self.model.publish(&publish, &outcome);
    }

    async fn answer(&mut self) {
        let expires_at = self.random.random_ratio(1, 3).then(|| self.now + 30);
        let matched_topics = self.random.random_ratio(1, 3).then(|| self.some_topics(0));
        let (realm, id) = (self.pick(&REALMS), self.text(&IDS));
        let by = self.one_of(&realm, &id, 4);
        let (sdp, now) = (format!("of {by}").into(), self.now);
        let answer = Answer { realm, id, by, sdp, matched_topics, expires_at, now };
        let outcome = ok(self.store.answer(answer.clone()).await);
        let Answer { realm, id, by, sdp, matched_topics, expires_at, .. } = answer;
        let Some(row) = self.model.live(&realm, &id, now) else {
            assert_eq!(outcome, AnswerOutcome::NotFound);
            return;
        };
        if row.offer.answered.is_some() {
            assert_eq!(outcome, AnswerOutcome::AlreadyAnswered);
            return;
        }
        if row.offer.locked_until > now {
            assert_eq!(outcome, AnswerOutcome::Locked);
            return;
        }
        let AnswerOutcome::Answered(told) = outcome else { panic!("it is open: {outcome:?}") };
        let at = told.answered.as_ref().unwrap().at;
        row.offer.answered = Some(Answered { by: by.clone(), sdp, at, matched_topics });
        row.offer.expires_at = expires_at.unwrap_or(row.offer.expires_at);
        assert_eq!(*told, row.offer);
        row.candidates.retain(|it| it.peer == row.offer.peer || it.peer == by);
        let peer = row.offer.peer.clone();
        self.model.stamp(&realm, &peer, at, now);
        if peer != by {
            self.stamps_of(&realm, &id, &by, &peer, 0, at).await;
            self.stamps_of(&realm, &id, &peer, &by, 0, at).await;
        }
    }

    /// Takes over the stamps that a peer's candidates were given, from that place on.
    async fn stamps_of(
        &mut self,
        realm: &Realm,
        id: &str,
        by: &str,
        to: &str,
        from: usize,
        above: Millis,
    ) {
        let now = self.now;
        let there = ok(self.store.candidates_of(realm, id, by, now).await);
        let Some(row) = self.model.live(realm, id, now) else { return };
        let mut known = row.by(by);
        assert_eq!(there.len(), known.len());
        for (known, there) in known.iter_mut().zip(&there).skip(from) {
            known.stamp = there.stamp;
        }
        assert_eq!(there, known);
        let mut stamps = known.iter();
        for candidate in row.candidates.iter_mut().filter(|it| it.peer == by) {
            candidate.stamp = stamps.next().unwrap().stamp;
        }
        for candidate in there.iter().skip(from) {
            assert!(candidate.stamp > above, "after the answer");
            self.model.stamp(realm, to, candidate.stamp, now);
        }
    }

    async fn add_candidates(&mut self) {
        let (realm, id) = (self.pick(&REALMS), self.text(&IDS));
        let by = self.one_of(&realm, &id, 2);
        let many = self.random.random_range(0..4);
        let bodies = (0..many).map(|it| format!("{{\"{by}\": {it}}}")).collect();
        let (most_early, most) = (self.pick(&[None, Some(6), Some(100)]), self.pick(&[3, 5, 100]));
        let now = self.now;
        let add = AddCandidates { realm, id, by, bodies, most_early, most, now };
        let told = ok(self.store.add_candidates(add.clone()).await);
        let AddCandidates { realm, id, by, bodies, .. } = add;
        let Some(row) = self.model.live(&realm, &id, now) else {
            assert_eq!(told, CandidatesAdded::NotFound);
            return;
        };
        let role = row.role(&by);
        let most_early = most_early.filter(|_| row.offer.answered.is_none());
        if role.is_none() && most_early.is_none() {
            assert_eq!(told, CandidatesAdded::NotAllowed);
            return;
        }
        let there = row.by(&by).len();
        let early = row.candidates.iter().filter(|it| it.peer != row.offer.peer).count();
        let fits = |there: usize, most: u32| there + bodies.len() <= most as usize;
        let all_fit = role.is_some() || most_early.is_none_or(|most| fits(early, most));
        if !fits(there, most) || !all_fit {
            assert_eq!(told, CandidatesAdded::TooMany, "{there}, {early} and {}", bodies.len());
            return;
        }
        let (to, role) = (row.other(&by).map(str::to_owned), role.unwrap_or(Role::Answerer));
        row.candidates.extend(bodies.into_iter().map(|body| Candidate {
            peer: by.clone(),
            role,
            body,
            stamp: now,
        }));
        let CandidatesAdded::Added { to: told } = told else { panic!("they are fine: {told:?}") };
        match to {
            Some(to) => {
                assert_eq!(told, Some(to.clone()));
                self.stamps_of(&realm, &id, &by, &to, there, Millis::MIN).await;
            }
            None => assert_eq!(told, None),
        }
    }

    async fn heartbeat(&mut self) {
        let (realm, id, by) = (self.pick(&REALMS), self.text(&IDS), self.text(&PEERS));
        let told = ok(self.store.heartbeat(&realm, &id, &by, self.now).await);
        let now = self.now;
        let expected = match self.model.live(&realm, &id, now) {
            None => Heartbeat::NotFound,
            Some(row) if row.offer.peer != by => Heartbeat::NotAllowed,
            Some(row) => {
                row.offer.last_seen = now;
                Heartbeat::Seen
            }
        };
        assert_eq!(told, expected);
    }

    async fn wrong_secret(&mut self) {
        let (realm, id, now) = (self.pick(&REALMS), self.text(&IDS), self.now);
        ok(self.store.wrong_secret(&realm, &id, 3, now, now + 7).await);
        let Some(row) = self.model.live(&realm, &id, now) else { return };
        row.offer.wrong_secrets += 1;
        if row.offer.wrong_secrets == 3 {
            (row.offer.wrong_secrets, row.offer.locked_until) = (0, now + 7);
        }
    }

    async fn delete(&mut self) {
        let (realm, id, by) = (self.pick(&REALMS), self.text(&IDS), self.text(&PEERS));
        let told = ok(self.store.delete_offer(&realm, &id, &by).await);
        let rows = &mut self.model.rows;
        let row = rows.iter().position(|it| it.realm == realm && it.offer.id == id);
        let Some(at) = row.filter(|it| rows[*it].offer.peer == by) else {
            assert!(!told, "there was none of {by}");
            return;
        };
        // One that has expired may have been swept.
        assert!(told || !rows[at].is_live(self.now), "there was one");
        rows.remove(at);
    }

    async fn retag(&mut self) {
        let (realm, by, now) = (self.pick(&REALMS), self.text(&PEERS), self.now);
        let topics = self.some_topics(1);
        let told = ok(self.store.retag(&realm, &by, &topics, now).await);
        let mut moved = 0;
        for row in &mut self.model.rows {
            let open = row.is_live(now) && row.offer.answered.is_none();
            if row.realm == realm && row.offer.peer == by && open {
                row.offer.topics.clone_from(&topics);
                moved += 1;
            }
        }
        assert_eq!(told, moved);
    }

    async fn use_nonces(&mut self) {
        let mut nonces = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let key = PublicKey::parse(self.pick(&["a", "b"]).repeat(64)).unwrap();
            let nonce = Uuid::from_u128(self.random.random_range(0..5));
            let expires_at = self.now + self.random.random_range(1..30);
            nonces.push(Nonce { key, nonce, expires_at });
        }
        let told = ok(self.store.use_nonces(&nonces, self.now).await);
        assert_eq!(told.len(), nonces.len());
        for (Nonce { key, nonce, expires_at }, told) in nonces.iter().zip(told) {
            self.model.use_nonce(key.as_str(), nonce.as_u128(), *expires_at, self.now, told);
        }
    }

    async fn sweep(&mut self) {
        let most = self.random.random_range(0..4);
        let swept = ok(self.store.sweep(self.now, most).await);
        assert!(swept.len() <= most as usize);
        let mut last = Millis::MIN;
        for swept in swept {
            let rows = &mut self.model.rows;
            let known = rows.iter().position(|it| {
                it.realm == swept.realm && it.offer.id == swept.id && it.offer.peer == swept.peer
            });
            let row = rows.remove(known.unwrap());
            assert!(!row.is_live(self.now), "{swept:?} is live");
            assert!(row.offer.expires_at >= last, "what expired first is swept first");
            last = row.offer.expires_at;
        }
    }

    /// Compares so many random reads.
    async fn compare(&mut self, reads: usize) {
        for _ in 0..reads {
            let (realm, peer, id) = (self.pick(&REALMS), self.text(&PEERS), self.text(&IDS));
            match self.random.random_range(0..7) {
                0 => {
                    let found = ok(self.store.offer(&realm, &id, self.now).await);
                    let known = self.model.live(&realm, &id, self.now);
                    assert_eq!(found.as_ref(), known.map(|it| &it.offer));
                }
                1 => self.compare_offers_of(&realm, &peer).await,
                2 => self.compare_page(realm, peer).await,
                3 => self.compare_topics(realm, &peer).await,
                4 | 5 => self.compare_candidates(&realm, &id, &peer).await,
                _ => self.compare_deliveries(&realm, &peer).await,
            }
        }
    }

    async fn compare_offers_of(&mut self, realm: &Realm, peer: &str) {
        for filter in FILTERS {
            let mut found = ok(self.store.offers_of(realm, peer, filter, self.now).await);
            let at = found.iter().map(|it| it.answered.as_ref().map(|it| it.at));
            let listed = match filter {
                OfferFilter::All | OfferFilter::Open => found.clone(),
                OfferFilter::Answered | OfferFilter::AnsweredByPeer => {
                    assert!(at.is_sorted_by(|one, next| one >= next), "the last answered first");
                    sort(&mut found, filter);
                    found
                }
            };
            assert_eq!(listed, self.model.offers_of(realm, peer, filter, self.now), "{filter:?}");
        }
        let (least, most) = self.model.count(realm, self.now);
        let count = ok(self.store.count(realm).await);
        assert!((least..=most).contains(&count), "{count}, not {least} to {most}");
    }

    async fn compare_page(&mut self, realm: Realm, peer: String) {
        let mut filter = PeerFilter::new(512);
        filter.insert(self.pick(&PEERS));
        let query = OfferQuery {
            realm,
            topics: self.some_topics(0),
            not_of: self.random.random_ratio(1, 3).then_some(peer),
            excluded: self.random.random_ratio(1, 3).then_some(filter),
            offset: self.pick(&[0, 0, 1, 3]),
            limit: self.pick(&[0, 1, 2, 100]),
            now: self.now,
        };
        let page = ok(self.store.offers_by_topic(query.clone()).await);
        assert_eq!(page, self.model.offers_by_topic(&query), "{query:?}");
    }

    async fn compare_topics(&mut self, realm: Realm, peer: &str) {
        let topics = self.some_topics(0);
        let not_of = self.random.random::<bool>().then_some(peer);
        let counts = ok(self.store.topic_counts(&realm, &topics, not_of, self.now).await);
        assert_eq!(counts, self.model.topic_counts(&realm, &topics, not_of, self.now));
        for order in [TopicOrder::MostPeers, TopicOrder::Name] {
            let query = TopicQuery {
                realm: realm.clone(),
                prefix: self.text(&PREFIXES),
                order,
                offset: self.pick(&[0, 0, 1, 3]),
                limit: self.pick(&[0, 1, 2, 100]),
                now: self.now,
            };
            let page = ok(self.store.topics(query.clone()).await);
            assert_eq!(page, self.model.topics(&query), "{query:?}");
        }
    }

    async fn compare_candidates(&mut self, realm: &Realm, id: &str, peer: &str) {
        let now = self.now;
        let since = self.pick(&[Millis::MIN, 0, now - 10, now, now + 3]);
        let found = ok(self.store.candidates(realm, id, peer, since, now).await);
        assert_eq!(found, self.model.candidates(realm, id, peer, since, now));
        let found = ok(self.store.candidates_of(realm, id, peer, now).await);
        let Some(row) = self.model.live(realm, id, now) else {
            assert_eq!(found, []);
            return;
        };
        assert_eq!(found, row.by(peer));
    }

    async fn compare_deliveries(&mut self, realm: &Realm, peer: &str) {
        let now = self.now;
        let since = self.pick(&[Millis::MIN, 0, now - 10, now, now + 3]);
        let limit = self.pick(&[0, 1, 2, 5, 1000]);
        let found = ok(self.store.deliveries(realm, peer, since, limit, now).await);
        let mut known = self.model.deliveries(realm, peer, since, now);
        known.truncate(limit as usize);
        assert_eq!(found, known, "to {peer} since {since}");
    }
}
