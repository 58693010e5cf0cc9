//! What the server is to be told of drift.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nxmesh_core::gateway::{
    drift::{DriftChange, DriftReport},
    link::MAX_DRIFT_CHANGES,
};
use tokio::sync::watch;

/// How things stand, and what became of them since the server was last told. Of what is not told,
/// because there is no server, the oldest is dropped first.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    told: Mutex<Told>,
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Told {
    report: DriftReport,
    changes: VecDeque<DriftChange>,
}

impl Ledger {
    /// Things stand so, and this became of them.
    pub(super) fn note(&self, report: DriftReport, change: Option<DriftChange>) {
        let mut told = self.lock();
        let news = change.is_some() || told.report != report;
        told.report = report;
        told.changes.extend(change);
        while told.changes.len() > MAX_DRIFT_CHANGES {
            told.changes.pop_front();
        }
        drop(told);
        if news {
            self.news.send_modify(|it| *it += 1);
        }
    }

    /// There is something else to tell.
    pub(super) fn call(&self) {
        self.news.send_modify(|it| *it += 1);
    }

    /// How things stand, and what became of them since this was last asked.
    pub(crate) fn take(&self) -> (DriftReport, Vec<DriftChange>) {
        let mut told = self.lock();
        (told.report.clone(), told.changes.drain(..).collect())
    }

    /// Is told as soon as there is something to tell.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use nxmesh_core::gateway::drift::{DriftEnd, DriftEnded};

    use super::*;

    #[test]
    fn what_nobody_takes_is_dropped_oldest_first() {
        let ledger = Ledger::default();
        let change = |seconds| {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            DriftChange::Ended(DriftEnded { at, by: DriftEnd::Hand })
        };
        let all: Vec<_> = (0..=MAX_DRIFT_CHANGES as i64).map(change).collect();
        for change in &all {
            ledger.note(DriftReport::default(), Some(change.clone()));
        }
        assert_eq!(ledger.take().1, all[1..]);
        assert!(ledger.take().1.is_empty());
    }

    #[test]
    fn only_news_wake_whoever_waits() {
        let ledger = Ledger::default();
        let news = ledger.news();
        ledger.note(DriftReport::default(), None);
        assert!(!news.has_changed().unwrap());
        ledger.note(DriftReport { total: 1, ..DriftReport::default() }, None);
        assert!(news.has_changed().unwrap());
    }
}
