//! Who is told how an apply goes.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use nxmesh_core::gateway::{MAX_QUARANTINED, Quarantined, link::ApplyStatus};

use super::{engine::Engine, generation::Identity, quarantine::Content};
use crate::link::Spool;

/// What an update has come to.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) identity: Identity,
    pub(crate) status: ApplyStatus,
    pub(crate) error_message: String,
    /// Names the content that is served, with success.
    pub(crate) checksum: String,
    pub(crate) quarantined: Vec<Quarantined>,
    pub(crate) quarantined_total: u32,
}

/// Who is told of the steps.
pub(super) enum Teller {
    /// The server, which asked for this; each step once, however often it is taken.
    Server { identity: Identity, spool: Arc<Spool>, told: AtomicU8 },
    /// Nobody.
    Silent,
}

impl Teller {
    pub(super) fn of(engine: &Engine, identity: &Identity) -> Self {
        let (identity, spool) = (identity.clone(), Arc::clone(&engine.spool));
        Self::Server { identity, spool, told: AtomicU8::new(0) }
    }

    /// A step is taken.
    pub(super) fn tell(&self, status: ApplyStatus) {
        let Self::Server { told, .. } = self else { return };
        let step = status as u8 + 1;
        if told.fetch_max(step, Ordering::Relaxed) < step {
            self.settled(status, String::new(), None);
        }
    }

    /// It has come to an end, or a step.
    pub(super) fn settled(
        &self,
        status: ApplyStatus,
        error_message: String,
        served: Option<&Content>,
    ) {
        let Self::Server { identity, spool, .. } = self else { return };
        let held = served.map(|it| it.kept.objects.as_slice()).unwrap_or_default();
        let report = Report {
            identity: identity.clone(),
            status,
            error_message,
            checksum: served.map(|it| it.identity().checksum).unwrap_or_default(),
            quarantined: held.iter().take(MAX_QUARANTINED).cloned().collect(),
            quarantined_total: u32::try_from(held.len()).unwrap_or(u32::MAX),
        };
        spool.report(report);
    }
}
