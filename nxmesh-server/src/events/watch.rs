use std::{ops::ControlFlow, time::Duration};

use axum::{
    extract::{
        FromRequestParts, Request, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::StatusCode;
use nxmesh_core::{
    Error, ErrorKind, Mesh,
    events::{Delivery, EventId, Subscription},
};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::message::{Answer, Lag, Request as Said};
use crate::http::{
    ApiError, AuthenticatedByQuery, ListQuery, RequestId,
    openapi::{Operation, Output},
};

/// The largest message that is read.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// What a connection holds for reading and for writing: there may be thousands.
const BUFFER_BYTES: usize = 4 * 1024;
/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// How long a client may say nothing, or read nothing, not even a ping.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for a store that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The answer to a request that becomes a WebSocket.
pub(super) struct Upgraded(Response);

impl IntoResponse for Upgraded {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Output for Upgraded {
    fn describe(operation: &mut Operation) {
        let text = "From here on messages of JSON go both ways.";
        operation.answers(StatusCode::SWITCHING_PROTOCOLS, text, None, &[]);
        operation.fails(ApiError::needs_upgrade().status(), None);
    }
}

/// Begins to watch.
pub(super) async fn open(
    State(mesh): State<Mesh>,
    AuthenticatedByQuery(actor): AuthenticatedByQuery,
    query: ListQuery,
    request: Request,
) -> Result<Upgraded, ApiError> {
    let number = |text: &str| text.parse().map_err(|_| "must be the id of an event".to_owned());
    let since: Option<EventId> = query.get("since", number)?;
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &mesh).await;
    let upgrade = upgrade.map_err(|_| ApiError::needs_upgrade())?;
    let subscription = mesh.events().subscribe(&actor, since).await?;
    let request_id = parts.extensions.get::<RequestId>().map(|it| it.0.clone());
    let request_id = request_id.unwrap_or_default();
    let upgrade = upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    let tasks = mesh.tasks().clone();
    Ok(Upgraded(upgrade.on_upgrade(async move |socket| {
        let (outgoing, incoming) = socket.split();
        let mut watcher =
            Watcher { outgoing, incoming, subscription, request_id, heard: Instant::now() };
        let stopping = tasks.stopping().clone();
        let watch = async {
            let end = tokio::select! {
                end = watcher.run() => end,
                () = stopping.cancelled() => Some(going_away()),
            };
            // Whoever is gone is told nothing.
            let _ = timeout(RETRY, watcher.outgoing.send(Message::Close(end))).await;
        };
        tasks.track(watch).await;
    })))
}

fn going_away() -> CloseFrame {
    CloseFrame { code: close_code::AWAY, reason: "the server is shutting down".into() }
}

/// One client.
struct Watcher {
    outgoing: SplitSink<WebSocket, Message>,
    incoming: SplitStream<WebSocket>,
    subscription: Subscription,
    request_id: String,
    heard: Instant,
}

/// The connection ends, and this is said.
type End = Option<CloseFrame>;

impl Watcher {
    async fn run(&mut self) -> End {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                said = self.incoming.next() => match said {
                    Some(Ok(message)) => self.hear(message).await,
                    Some(Err(_)) | None => return None,
                },
                delivery = self.subscription.next() => self.deliver(delivery).await,
                _ = ping.tick() => match self.heard.elapsed() < PATIENCE {
                    true => self.send([Message::Ping(Bytes::new())]).await,
                    false => return None,
                },
            };
            if let ControlFlow::Break(end) = next {
                return end;
            }
        }
    }

    async fn hear(&mut self, message: Message) -> ControlFlow<End> {
        self.heard = Instant::now();
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Binary(_) => "",
            Message::Ping(_) | Message::Pong(_) => return ControlFlow::Continue(()),
            Message::Close(_) => return ControlFlow::Break(None),
        };
        let answer = match Said::parse(text).and_then(|said| self.obey(said)) {
            Ok(answer) => json(&answer),
            Err(error) => self.refusal(error),
        };
        self.send([answer]).await
    }

    fn obey(&mut self, said: Said) -> Result<Answer, Error> {
        Ok(match said {
            Said::Subscribe { events, filter } => {
                self.subscription.want(&events, &filter)?;
                Answer::Subscribed { events, filter, since: self.subscription.cursor() }
            }
            Said::Unsubscribe { events, filter } => {
                self.subscription.unwant(events.as_deref(), filter.as_ref());
                let (events, filter) = (events.unwrap_or_default(), filter.unwrap_or_default());
                Answer::Unsubscribed { events, filter }
            }
        })
    }

    async fn deliver(&mut self, delivery: Result<Delivery, Error>) -> ControlFlow<End> {
        match delivery {
            Ok(Delivery::Events(events)) => {
                let messages: Vec<_> = events.iter().map(|it| json(it.as_ref())).collect();
                self.send(messages).await
            }
            Ok(Delivery::Missed(missed)) => {
                self.send([json(&Answer::Lagged { data: Lag { missed } })]).await
            }
            Err(error) if error.kind() == ErrorKind::Unauthenticated => {
                let reason = Utf8Bytes::from(error.to_string());
                self.send([self.refusal(error)]).await?;
                ControlFlow::Break(Some(CloseFrame { code: close_code::POLICY, reason }))
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read events; will be tried again");
                tokio::time::sleep(RETRY).await;
                ControlFlow::Continue(())
            }
        }
    }

    /// Sends messages, as fast as they are read.
    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> ControlFlow<End> {
        let send = async {
            for message in messages {
                self.outgoing.feed(message).await?;
            }
            self.outgoing.flush().await
        };
        match timeout(PATIENCE, send).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) | Err(_) => ControlFlow::Break(None),
        }
    }

    fn refusal(&self, error: Error) -> Message {
        json(&ApiError::from(error).envelope(&self.request_id))
    }
}

fn json(value: &impl Serialize) -> Message {
    // Our own types have no keys that JSON lacks.
    Message::text(serde_json::to_string(value).unwrap_or_default())
}
