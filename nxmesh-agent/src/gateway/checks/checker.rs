//! Asking all servers in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use nxmesh_core::{
    Clock,
    gateway::{HealthCheck, checks::ServerChecks},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    ask::ask,
    servers::{Key, Servers},
};
use crate::{gateway::EngineHandle, link::Spool};

/// How many servers are asked at a time; others wait for their turn.
const MAX_AT_ONCE: usize = 128;
/// How many names are looked up at a time.
const MAX_NAMES: usize = 16;
/// What is out of rotation changes once in this time at most: each change is a reload.
const TURN: Duration = Duration::from_secs(1);

/// What the checks found, for whoever tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Checks(Arc<Mutex<Servers>>);

impl Checks {
    /// How all servers are.
    pub(crate) fn report(&self) -> ServerChecks {
        self.servers().report()
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the servers of what is served, and says which get no requests.
#[derive(Debug)]
pub(crate) struct Checker {
    engine: Arc<EngineHandle>,
    spool: Arc<Spool>,
    clock: Arc<dyn Clock>,
    checks: Checks,
    schedule: Schedule,
    names: Arc<Semaphore>,
}

type Asked = BoxFuture<'static, Answered>;

struct Answered {
    key: Key,
    outcome: Result<(), String>,
    /// When to ask again.
    again: Instant,
}

impl Checker {
    pub(crate) fn new(engine: Arc<EngineHandle>, spool: Arc<Spool>, clock: Arc<dyn Clock>) -> Self {
        let before = engine.rotation().as_ref().clone();
        let checks = Checks(Arc::new(Mutex::new(Servers::new(before))));
        let names = Arc::new(Semaphore::new(MAX_NAMES));
        Self { engine, spool, clock, checks, schedule: Schedule::default(), names }
    }

    /// What is found, from now on.
    pub(crate) fn checks(&self) -> Checks {
        self.checks.clone()
    }

    /// Asks until it is told to stop.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        let mut served = self.engine.served();
        let mut followed = None;
        let mut asking = FuturesUnordered::<Asked>::new();
        let mut last_turn: Option<Instant> = None;
        // When to say what is out of rotation, if that may have changed.
        let mut turn_due: Option<Instant> = None;
        served.mark_changed();
        loop {
            let due = self.schedule.next().filter(|_| asking.len() < MAX_AT_ONCE);
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = served.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let checksum = served.borrow_and_update().verified.checksum.clone();
                    // Another rotation of the same content has the same servers.
                    if followed.as_ref() == Some(&checksum) || !self.follow().await {
                        continue;
                    }
                    followed = Some(checksum);
                }
                Some(answered) = asking.next() => {
                    if !self.note(answered) {
                        continue;
                    }
                }
                () = at(due) => {
                    let now = Instant::now();
                    while asking.len() < MAX_AT_ONCE && let Some(key) = self.schedule.take(now) {
                        asking.extend(self.begin(key, now));
                    }
                    continue;
                }
                () = at(turn_due) => {
                    (last_turn, turn_due) = (Some(Instant::now()), None);
                    self.engine.rotate(self.checks.servers().rotation());
                    continue;
                }
            }
            let soonest = last_turn.map_or_else(Instant::now, |it| it + TURN);
            turn_due = turn_due.or(Some(soonest));
        }
    }

    /// Asks the servers of what is served now; whether it is known what that is.
    async fn follow(&mut self) -> bool {
        let Some(served) = self.engine.served_content().await else { return false };
        let keys = {
            let mut servers = self.checks.servers();
            servers.follow(&served, self.clock.now());
            servers.keys()
        };
        let now = Instant::now();
        self.schedule.keep(&keys);
        for key in keys {
            let servers = self.checks.servers();
            if let Some(check) = servers.check(&key) {
                // Anywhere in the first interval: a fleet that is configured as one does not ask
                // as one.
                self.schedule.add(key, now + interval(check).mul_f64(rand::random()));
            }
        }
        true
    }

    /// Asks this one, if it is still to be asked.
    fn begin(&mut self, key: Key, now: Instant) -> Option<Asked> {
        let check = self.checks.servers().check(&key).cloned();
        let Some(check) = check else {
            self.schedule.done(&key);
            return None;
        };
        let names = Arc::clone(&self.names);
        let jitter: f64 = rand::random();
        let again = now + interval(&check).mul_f64(0.9 + jitter / 5.0);
        Some(Box::pin(async move {
            let outcome = ask(key.1.as_str(), &check, &names).await;
            Answered { key, outcome, again }
        }))
    }

    /// Takes an answer; whether something changed by it.
    fn note(&mut self, answered: Answered) -> bool {
        let Answered { key, outcome, again } = answered;
        self.schedule.done(&key);
        let changed = {
            let mut servers = self.checks.servers();
            if servers.check(&key).is_some() {
                self.schedule.add(key.clone(), again);
            }
            servers.note(&key, outcome, self.clock.now())
        };
        let Some(change) = changed else { return false };
        tracing::info!(upstream_id = %key.0, message = change.message, "an upstream server changed");
        self.spool.alert(&format!("{}-{}", key.0, key.1), change.severity, change.message);
        true
    }
}

fn interval(check: &HealthCheck) -> Duration {
    Duration::from_secs(check.interval.into())
}

/// Waits for ever when there is nothing to wait for.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// When to ask whom next: each once, and nobody who is being asked.
#[derive(Debug, Default)]
struct Schedule {
    order: BTreeSet<(Instant, Key)>,
    due: BTreeMap<Key, Instant>,
    busy: BTreeSet<Key>,
}

impl Schedule {
    fn next(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Takes whoever is due longest, and is being asked until that is [`done`](Self::done).
    fn take(&mut self, now: Instant) -> Option<Key> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due.remove(&key);
        self.busy.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &Key) {
        self.busy.remove(key);
    }

    /// Asks this one then, unless it is to be asked or being asked already.
    fn add(&mut self, key: Key, due: Instant) {
        if !self.due.contains_key(&key) && !self.busy.contains(&key) {
            self.due.insert(key.clone(), due);
            self.order.insert((due, key));
        }
    }

    /// Forgets all others.
    fn keep(&mut self, keys: &BTreeSet<Key>) {
        self.due.retain(|key, _| keys.contains(key));
        self.order.retain(|(_, key)| keys.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use nxmesh_core::{conformance::given::id, gateway::ServerAddress};

    use super::*;

    #[test]
    fn each_is_asked_once_and_in_order() {
        let now = Instant::now();
        let key = |name: &str| (id(), ServerAddress::parse(name).unwrap());
        let (a, b, c) = (key("a:1"), key("b:1"), key("c:1"));
        let mut schedule = Schedule::default();
        let second = Duration::from_secs(1);
        schedule.add(b.clone(), now + second);
        schedule.add(a.clone(), now);
        schedule.add(a.clone(), now + second * 9);
        schedule.add(c, now);
        schedule.keep(&[a.clone(), b.clone()].into());
        assert_eq!((schedule.take(now), schedule.take(now)), (Some(a.clone()), None));
        schedule.add(a.clone(), now);
        assert_eq!(schedule.take(now), None, "it is being asked");
        schedule.done(&a);
        schedule.add(a.clone(), now);
        assert_eq!(schedule.take(now), Some(a));
        assert_eq!((schedule.next(), schedule.take(now + second)), (Some(now + second), Some(b)));
        assert_eq!((schedule.next(), schedule.take(now + second * 99)), (None, None));
    }
}
