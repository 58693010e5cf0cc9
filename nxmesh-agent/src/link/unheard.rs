//! What was sent, and may not have been heard: pure.

use std::collections::VecDeque;

use super::{Spool, spool::Receipt};

/// A server that says that often nothing does not say what it hears: what it takes counts as heard.
const MAX_ASKED: usize = 64;

/// Follows what was sent on one connection. The server answers each health report, in order: what was
/// sent before that was heard too.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    newest: Option<Receipt>,
    /// For each report without an answer, what was sent before it.
    asked: VecDeque<Option<Receipt>>,
}

impl Unheard {
    /// This was sent.
    pub(super) fn sent(&mut self, receipt: Receipt) {
        self.newest = Some(receipt);
    }

    /// A health report was sent, which will be answered.
    pub(super) fn asked(&mut self, spool: &Spool) {
        self.asked.push_back(self.newest);
        if self.asked.len() > MAX_ASKED {
            self.heard(spool);
        }
    }

    /// A report was answered.
    pub(super) fn heard(&mut self, spool: &Spool) {
        if let Some(Some(receipt)) = self.asked.pop_front() {
            spool.heard(receipt);
        }
    }
}
