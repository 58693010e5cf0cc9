//! One WebSocket to a server.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use nxmesh_core::events::{Event, EventFilter, EventId, EventPattern};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header},
    },
};

use crate::{ApiError, Error, Result, error::refusal, sender::silent};

/// A server that says nothing for so long is gone: it pings every 20 s.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a server says.
#[derive(Debug)]
pub(crate) enum Said {
    Event(Box<Event>),
    Lagged(u64),
    Subscribed(Option<EventId>),
    Refused(ApiError),
}

impl Socket {
    pub(crate) async fn open(
        url: Url,
        token: Option<&str>,
        tls: Option<Connector>,
        patience: Duration,
    ) -> Result<Self> {
        let mut request = url.as_str().into_client_request().map_err(failed)?;
        if let Some(token) = token
            && let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}"))
        {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let connect = connect_async_tls_with_config(request, None, true, tls);
        let connected = timeout(patience, connect).await.map_err(|_| silent())?;
        match connected {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(tungstenite::Error::Http(response)) => {
                let status = response.status();
                Err(refusal(status, response.body().as_deref().unwrap_or_default()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(crate) async fn subscribe(
        &mut self,
        patterns: &[EventPattern],
        filter: &EventFilter,
    ) -> Result<()> {
        let said = json!({"action": "subscribe", "events": patterns, "filter": filter});
        self.stream.send(Message::text(said.to_string())).await.map_err(failed)
    }

    /// The next that is said; `None` when the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        loop {
            let text = match timeout(SILENCE, self.stream.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => text,
                // Pings are answered on the way.
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(_)) | None) | Err(_) => return None,
            };
            if let Some(said) = parse(&text) {
                return Some(said);
            }
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: ApiError,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    Subscribed { since: Option<EventId> },
    Lagged { data: Lag },
}

#[derive(Deserialize)]
struct Lag {
    missed: u64,
}

/// What a message says; `None` for what a newer server may say.
fn parse(text: &str) -> Option<Said> {
    if let Ok(Refusal { error }) = serde_json::from_str(text) {
        let status = if error.code == "UNAUTHORIZED" { 401 } else { 422 };
        return Some(Said::Refused(ApiError { status, ..error }));
    }
    match serde_json::from_str(text) {
        Ok(Answer::Subscribed { since }) => Some(Said::Subscribed(since)),
        Ok(Answer::Lagged { data: Lag { missed } }) => Some(Said::Lagged(missed)),
        Err(_) => serde_json::from_str(text).ok().map(Said::Event),
    }
}

fn failed(error: tungstenite::Error) -> Error {
    Error::Socket(Box::new(error))
}
