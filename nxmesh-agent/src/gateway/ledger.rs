//! What the server is to be told of drift.

use std::sync::{Arc, Mutex, PoisonError};

use nxmesh_core::gateway::drift::{DriftChange, DriftReport};
use tokio::sync::watch;

use crate::link::{Spool, Told};

/// How things stand; what became of them is told by way of the spool.
#[derive(Debug)]
pub(crate) struct Ledger {
    report: Mutex<DriftReport>,
    news: watch::Sender<u64>,
    spool: Arc<Spool>,
}

impl Ledger {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self { report: Mutex::default(), news: watch::Sender::default(), spool }
    }

    /// Things stand so, and this became of them.
    pub(super) fn note(&self, report: DriftReport, change: Option<DriftChange>) {
        let news = {
            let mut known = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            let news = *known != report;
            *known = report;
            news
        };
        match change {
            Some(change) => self.spool.tell(Told::Drift(change)),
            None if news => self.call(),
            None => {}
        }
    }

    /// There is something else to tell.
    pub(super) fn call(&self) {
        self.news.send_modify(|it| *it += 1);
    }

    /// How things stand.
    pub(crate) fn report(&self) -> DriftReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Is told as soon as there is something to tell.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use nxmesh_core::SystemClock;

    use super::*;

    #[test]
    fn only_news_wake_whoever_waits() {
        let ledger = Ledger::new(Arc::new(Spool::new(Arc::new(SystemClock))));
        let news = ledger.news();
        ledger.note(DriftReport::default(), None);
        assert!(!news.has_changed().unwrap());
        ledger.note(DriftReport { total: 1, ..DriftReport::default() }, None);
        assert!(news.has_changed().unwrap());
    }
}
