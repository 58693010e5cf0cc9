//! Dropping what has expired, some at a time, so that nobody waits for long.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::RendezvousStore;
use crate::Clock;

/// How many offers are dropped together at the most.
const MOST: u32 = 200;

pub(super) async fn run(
    store: Arc<dyn RendezvousStore>,
    clock: Arc<dyn Clock>,
    pause: Duration,
    stopping: CancellationToken,
) {
    let mut most = MOST;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // What expires meanwhile waits for the next round.
        let now = clock.now().timestamp_millis();
        loop {
            match store.sweep(now, most).await {
                Ok(swept) => {
                    most = (most + 1).min(MOST);
                    if swept.is_empty() || stopping.is_cancelled() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // They may have been too much for one call, and would be again.
                    most = (most / 2).max(1);
                    tracing::warn!(%error, "cannot sweep what has expired; will try again");
                    break;
                }
            }
        }
    }
}
