//! What keeps a connection for events, whatever happens to it.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{sync::mpsc, time::Instant};

use super::{EventFilter, PeerEvent, RendezvousClient};

const SHORTEST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What becomes of that connection.
#[derive(Debug)]
pub(super) enum Pushed {
    /// It is there: what happens from now on is told.
    Connected {
        /// And what happened since the last one broke.
        resumed: bool,
    },
    /// Something happened.
    Event(PeerEvent),
    /// It is not there any more.
    Lost,
}

/// Tells what happens to the peer until nobody listens. Who is slow to listen is waited for, and the
/// server with it.
pub(super) async fn push(
    client: RendezvousClient,
    mut filter: EventFilter,
    to: mpsc::Sender<Pushed>,
) {
    let from = filter.since;
    let mut waits = Waits::new();
    loop {
        if let Ok(mut events) = client.events(&filter).await {
            let began = Instant::now();
            let resumed = filter.since.is_some();
            if to.send(Pushed::Connected { resumed }).await.is_err() {
                return;
            }
            let ended = loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        // It works: the next time it breaks is the first time.
                        waits = Waits::new();
                        if to.send(Pushed::Event(event)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            // What was not understood would come again: go on from what can be read.
            let understood = !matches!(ended, Err(crate::Error::Answer { .. }));
            filter.since = events.since().filter(|_| understood).or(from);
            waits.lasted(began.elapsed());
            if to.send(Pushed::Lost).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(waits.next()).await;
    }
}

/// How long to wait before connecting again: longer each time that it does not work.
struct Waits(ExponentialBackoff);

impl Waits {
    fn new() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(SHORTEST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times();
        Self(waits.build())
    }

    /// A connection ended after this: one that lasted a while worked, though nothing happened.
    fn lasted(&mut self, time: Duration) {
        if time >= LONGEST_WAIT {
            *self = Self::new();
        }
    }

    fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_a_connection_lasts() {
        let mut waits = Waits::new();
        let mut after = |lasted| {
            waits.lasted(lasted);
            waits.next()
        };
        for _ in 0..10 {
            after(Duration::ZERO);
        }
        assert!(after(LONGEST_WAIT - SHORTEST_WAIT) >= LONGEST_WAIT);
        // Each is up to twice as long, by chance.
        assert!(after(LONGEST_WAIT) <= SHORTEST_WAIT * 2);
    }
}
