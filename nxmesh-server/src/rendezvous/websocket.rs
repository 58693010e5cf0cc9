//! The same events as messages of a WebSocket.

use std::{pin::pin, time::Duration};

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use nxmesh_core::{Tasks, rendezvous::Subscription};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::event::Terms;

/// The largest message that is read: clients have nothing to say here.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// What a connection holds for reading and for writing: there may be thousands.
const BUFFER_BYTES: usize = 1024;
/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// How long a client may say nothing, or read nothing, not even a ping.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for a store that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Sends what a subscription has, as fast as the client reads.
pub(super) fn open(
    upgrade: WebSocketUpgrade,
    subscription: Subscription,
    terms: Terms,
    tasks: Tasks,
) -> Response {
    let upgrade = upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    upgrade.on_upgrade(async move |socket| {
        let (outgoing, incoming) = socket.split();
        let heard = Instant::now();
        let mut listener = Listener { outgoing, incoming, subscription, terms, heard };
        let stopping = tasks.stopping().clone();
        let listen = async {
            let end = tokio::select! {
                () = listener.run() => None,
                () = stopping.cancelled() => Some(going_away()),
            };
            // Whoever is gone is told nothing.
            let _ = timeout(RETRY, listener.outgoing.send(Message::Close(end))).await;
        };
        tasks.track(listen).await;
    })
}

fn going_away() -> CloseFrame {
    CloseFrame { code: close_code::AWAY, reason: "the server is shutting down".into() }
}

/// One client.
struct Listener {
    outgoing: SplitSink<WebSocket, Message>,
    incoming: SplitStream<WebSocket>,
    subscription: Subscription,
    terms: Terms,
    heard: Instant,
}

impl Listener {
    /// Until the client is gone.
    async fn run(&mut self) {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = {
                // What the client says meanwhile does not begin it anew.
                let mut event = pin!(self.subscription.next());
                loop {
                    tokio::select! {
                        said = self.incoming.next() => {
                            // Whatever it is: the client is there.
                            let Some(Ok(_)) = said else { return };
                            self.heard = Instant::now();
                        }
                        event = &mut event => break Some(event),
                        _ = ping.tick() => break None,
                    }
                }
            };
            let next = match next {
                Some(Ok(event)) => Message::Text(Utf8Bytes::from((self.terms)(&event).1)),
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot read what reached a peer; will try again");
                    sleep(RETRY).await;
                    continue;
                }
                None if self.heard.elapsed() > PATIENCE => return,
                None => Message::Ping(Bytes::new()),
            };
            if !matches!(timeout(PATIENCE, self.outgoing.send(next)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}
