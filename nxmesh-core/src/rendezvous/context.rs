use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::DropGuard;

use super::{CredentialKeys, Millis, RendezvousSettings, RendezvousStore, feed::Feed};
use crate::{Clock, Tasks, figures::CallCounts, tenancy::MasterKey};

/// What all operations need.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Arc<dyn RendezvousStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: RendezvousSettings,
    pub(super) keys: CredentialKeys,
    pub(super) master: MasterKey,
    pub(super) feed: Feed,
    /// Room for batches of the protocol `rpc` that are being read.
    pub(super) reading: Arc<Semaphore>,
    pub(super) calls: CallCounts,
    pub(super) tasks: Tasks,
    /// What runs in the background, and keeps the store open, ends with the last handle.
    pub(super) _stop: Arc<DropGuard>,
}

impl Context {
    /// Now, as clients write it.
    pub(crate) fn now(&self) -> Millis {
        self.clock.now().timestamp_millis()
    }
}
