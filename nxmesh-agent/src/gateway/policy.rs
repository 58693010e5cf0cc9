//! What is decided about drift, and what has to wait for it.

use std::{sync::Arc, time::Instant};

use nxmesh_core::gateway::{ConfigUpdate, drift::DriftPolicy};

use super::engine::Engine;

impl Engine {
    /// Does this about drift from now on.
    pub(super) fn follow(&mut self, policy: DriftPolicy) {
        if self.drift.policy == policy {
            return;
        }
        if let Err(error) = self.nginx.dir().keep_drift_policy(policy) {
            tracing::error!(%error, "cannot keep what is to be done about drift");
        }
        self.drift.policy = policy;
        self.drift.next_look = Instant::now();
        self.drift.ledger.note(self.drift.report(), None);
    }

    /// Why another configuration has to wait, where it has to; it comes afterwards.
    pub(super) fn hold(&mut self, update: &Arc<ConfigUpdate>) -> Option<String> {
        // What waited is older than this.
        self.drift.held = None;
        let until = self.drift.policy.held_until(self.drift.clock.now())?;
        self.drift.held = Some(Arc::clone(update));
        Some(format!(
            "held back until {until}: what is on the host stays until then (drift policy adopt)"
        ))
    }

    /// Whether another rotation has to wait; it comes afterwards.
    pub(super) fn holds_rotation(&mut self) -> bool {
        let held = self.holds();
        self.drift.held_rotation |= held;
        held
    }

    /// Whether what is on the host stays for now.
    pub(super) fn holds(&self) -> bool {
        self.drift.policy.held_until(self.drift.clock.now()).is_some()
    }

    /// What had to wait and need not any more.
    pub(super) async fn release(&mut self) {
        if self.holds() || !self.may_reload() {
            return;
        }
        let turned = std::mem::take(&mut self.drift.held_rotation);
        if let Some(update) = self.drift.held.take() {
            self.settle(update).await;
        } else if turned {
            self.turn(Arc::clone(&self.rotation)).await;
        }
    }
}
