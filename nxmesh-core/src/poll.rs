//! Looking again when no news came.

use std::{future::pending, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Says when it is time to look; never, where news cannot be lost.
#[derive(Debug)]
pub(crate) struct Poll(Option<Interval>);

impl Poll {
    pub(crate) fn new(every: Option<Duration>) -> Self {
        Self(every.map(|every| {
            let mut interval = interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    pub(crate) async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => pending().await,
        }
    }
}
