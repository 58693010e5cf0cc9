//! What keeps a connection for events, whatever happens to it.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::mpsc;

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
pub(super) async fn push(client: RendezvousClient, to: mpsc::Sender<Pushed>) {
    let waits = ExponentialBuilder::new()
        .with_min_delay(SHORTEST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times();
    let mut waiting = waits.build();
    let mut filter = EventFilter::default();
    loop {
        if let Ok(mut events) = client.events(&filter).await {
            let resumed = filter.since.is_some();
            if to.send(Pushed::Connected { resumed }).await.is_err() {
                return;
            }
            let ended = loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        // It works: the next time it breaks is the first time.
                        waiting = waits.build();
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
            filter.since = events.since().filter(|_| understood);
            if to.send(Pushed::Lost).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(waiting.next().unwrap_or(LONGEST_WAIT)).await;
    }
}
