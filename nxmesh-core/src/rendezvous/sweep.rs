//! Dropping what has expired, some at a time, so that nobody waits for long.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::RendezvousStore;
use crate::Clock;

/// How many offers are dropped together.
const TOGETHER: u32 = 200;

pub(super) async fn run(
    store: Arc<dyn RendezvousStore>,
    clock: Arc<dyn Clock>,
    pause: Duration,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        loop {
            match store.sweep(clock.now().timestamp_millis(), TOGETHER).await {
                Ok(swept) if swept.len() == TOGETHER as usize && !stopping.is_cancelled() => {
                    tokio::task::yield_now().await;
                }
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot sweep what has expired; will try again");
                    break;
                }
            }
        }
    }
}
