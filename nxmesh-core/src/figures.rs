//! What a control plane counts about itself, for whoever shows it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a call of the store took, or an event was under way, in microseconds.
const CALL_BOUNDS: &[u64] =
    &[100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000, 5_000_000];
/// So many microseconds are a second.
pub(crate) const MICROS: f64 = 1_000_000.0;
/// How many changes were committed together.
const COMMIT_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128];

/// What was counted since the start, and what is so now. It names nobody: no tenant, no agent.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// The agents.
    pub agents: AgentFigures,
    /// How many changes of a workspace were committed together.
    pub commits: Distribution,
    /// The events.
    pub events: EventFigures,
    /// The calls of the store, by operation.
    pub store_calls: Vec<StoreCalls>,
}

/// The agents: of the whole store, and of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentFigures {
    /// How many there are in the store, wherever they are connected, some seconds ago at most.
    /// `None` when it does not answer.
    pub registered: Option<u64>,
    /// How many of these never connected.
    pub pending: Option<u64>,
    /// How many are connected to this process, and well.
    pub online: u64,
    /// How many are connected to this process, and degraded.
    pub degraded: u64,
    /// How many of the connected ones are not proven to serve what they should.
    pub behind: u64,
    /// By how many revisions the last of these is behind.
    pub furthest_behind: u64,
    /// For how long the one that has been behind the longest is.
    pub longest_behind_seconds: u64,
    /// How many hold a part back because their nginx refuses it.
    pub holding_back: u64,
    /// On how many somebody else changed what the agent looks after.
    pub drifted: u64,
    /// How many servers behind them fail their health checks; each agent counts for itself.
    pub unhealthy_servers: u64,
}

/// The events, as they are handed out by this process.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EventFigures {
    /// How many watch.
    pub watching: u64,
    /// How long after they happened events were there to be handed out, in seconds.
    pub lag: Distribution,
}

/// The calls of one operation of the store.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StoreCalls {
    /// The area and the name of the method: `gateway.commit`.
    pub operation: &'static str,
    /// How long they took, in seconds.
    pub seconds: Distribution,
    /// How many found the store away or broken.
    pub failed: u64,
}

/// How often there was how much.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Distribution {
    /// How often.
    pub count: u64,
    /// All together.
    pub sum: f64,
    /// By bounds: how often it was at most this and more than the bound before. The last bound is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// Counts by bounds.
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: &'static [u64],
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Buckets {
    fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// For how long something took, in microseconds.
    pub(crate) fn of_micros() -> Self {
        Self::new(CALL_BOUNDS)
    }

    /// For how many changes are committed together.
    pub(crate) fn of_commits() -> Self {
        Self::new(COMMIT_BOUNDS)
    }

    pub(crate) fn count(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What was counted, in units of so many.
    pub(crate) fn read(&self, unit: f64) -> Distribution {
        let bounds = self.bounds.iter().map(|it| *it as f64 / unit).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|it| it.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Distribution { count, sum: self.sum.load(Ordering::Relaxed) as f64 / unit, buckets }
    }
}

/// Counts the calls of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallCounts(Arc<Mutex<BTreeMap<&'static str, Arc<Calls>>>>);

#[derive(Debug)]
struct Calls {
    micros: Buckets,
    failed: AtomicU64,
}

impl CallCounts {
    pub(crate) fn count(&self, operation: &'static str, took: Duration, failed: bool) {
        let calls = Arc::clone(self.lock().entry(operation).or_insert_with(|| {
            Arc::new(Calls { micros: Buckets::of_micros(), failed: AtomicU64::new(0) })
        }));
        calls.micros.count(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if failed {
            calls.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Vec<StoreCalls> {
        let all = self.lock();
        let read = all.iter().map(|(operation, calls)| StoreCalls {
            operation,
            seconds: calls.micros.read(MICROS),
            failed: calls.failed.load(Ordering::Relaxed),
        });
        read.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Arc<Calls>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_up_to_the_first_bound_that_it_does_not_exceed() {
        let buckets = Buckets::of_commits();
        for value in [1, 2, 3, 128, 129] {
            buckets.count(value);
        }
        let read = buckets.read(1.0);
        let counts: Vec<_> = read.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!((read.count, read.sum), (5, 263.0));
        assert_eq!(read.buckets.last().map(|it| it.0), Some(f64::INFINITY));
    }
}
