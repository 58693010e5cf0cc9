//! Somebody who listens to what is pushed, by either transport.

use std::time::Duration;

use futures::StreamExt;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::given::{Answer, Given, answer};

/// How long to wait for what should have come long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// By what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    ServerSentEvents,
    WebSocket,
}

/// Both transports.
pub(crate) const BOTH: [By; 2] = [By::ServerSentEvents, By::WebSocket];

/// Who listens.
pub(crate) struct Listener {
    transport: Transport,
    pub(crate) headers: HeaderMap,
    /// The stamp of the event heard last that has one: what the next listener can go on from.
    pub(crate) last: Option<i64>,
}

enum Transport {
    Stream(Stream),
    Socket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
}

/// Server-sent events, read as the standard says.
struct Stream {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Listener {
    /// Listens at a path, with these headers.
    pub(crate) async fn open(by: By, given: &Given, path: &str, headers: &[(&str, &str)]) -> Self {
        let opened = Self::try_open(by, given, path, headers).await;
        opened.unwrap_or_else(|refused| panic!("{path}: {} {}", refused.status, refused.text))
    }

    /// The same, or how it was refused.
    pub(crate) async fn try_open(
        by: By,
        given: &Given,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        match by {
            By::ServerSentEvents => {
                let request = given.request(reqwest::Method::GET, path);
                let request =
                    headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
                let again = request.try_clone().unwrap();
                let response = request.send().await.unwrap();
                if response.status() != 200 {
                    return Err(answer(again).await);
                }
                let headers = response.headers().clone();
                let transport = Transport::Stream(Stream { response, buffer: Vec::new() });
                Ok(Self { transport, headers, last: None })
            }
            By::WebSocket => {
                let url = format!("ws://{}{path}", given.address);
                let mut request = url.into_client_request().unwrap();
                for (name, value) in headers {
                    let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
                    request.headers_mut().insert(name, value.parse().unwrap());
                }
                match connect_async(request).await {
                    Ok((socket, response)) => {
                        let headers = response.headers().clone();
                        let transport = Transport::Socket(Box::new(socket));
                        Ok(Self { transport, headers, last: None })
                    }
                    Err(tungstenite::Error::Http(refused)) => {
                        let text = refused.body().clone().unwrap_or_default();
                        let text = String::from_utf8(text).unwrap();
                        let body = serde_json::from_str(&text).unwrap_or_default();
                        let (status, headers) =
                            (refused.status().as_u16(), refused.headers().clone());
                        Err(Answer { status, headers, text, body })
                    }
                    Err(error) => panic!("{path}: {error}"),
                }
            }
        }
    }

    /// The next event; `None` when there will be no more.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let heard = timeout(PATIENCE, self.transport.next()).await.expect("nothing was said")?;
        let (id, text) = heard;
        let event: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let stamp = [&event["answeredAt"], &event["createdAt"]].into_iter().find_map(Value::as_i64);
        if let Some(id) = id {
            assert_eq!(id.map(|it| it.parse().unwrap()), stamp, "{text}");
        }
        self.last = stamp.or(self.last);
        Some(event)
    }

    /// The next event, which there must be.
    pub(crate) async fn hear_any(&mut self) -> Value {
        self.next().await.expect("the server went away")
    }

    /// The next event that says what there is: a store that is still connecting tells of what it may have missed.
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            let event = self.hear_any().await;
            if event["type"] != "missed" {
                return event;
            }
        }
    }

    /// The next events.
    pub(crate) async fn hear_all(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.hear().await);
        }
        events
    }
}

impl Transport {
    /// Its id, where the transport has one, and its text.
    async fn next(&mut self) -> Option<(Option<Option<String>>, String)> {
        match self {
            Self::Stream(stream) => stream.next().await.map(|(id, text)| (Some(id), text)),
            Self::Socket(socket) => loop {
                match socket.next().await?.unwrap() {
                    Message::Text(text) => return Some((None, text.to_string())),
                    Message::Close(frame) => {
                        assert_eq!(frame.map(|it| u16::from(it.code)), Some(1001), "going away");
                        return None;
                    }
                    _ => {}
                }
            },
        }
    }
}

impl Stream {
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                return Some(line.trim_end_matches(['\n', '\r']).to_owned());
            }
            self.buffer.extend(self.response.chunk().await.unwrap()?);
        }
    }

    async fn next(&mut self) -> Option<(Option<String>, String)> {
        let (mut id, mut data) = (None, Vec::new());
        loop {
            let line = self.line().await?;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "id" => id = Some(value),
                "data" => data.push(value),
                // A comment, or how long to wait before coming again.
                "" if !line.is_empty() => {}
                "retry" => assert_eq!(value, "1000"),
                "" if data.is_empty() => {}
                "" => return Some((id, data.join("\n"))),
                other => panic!("{other} is no field: {line}"),
            }
        }
    }
}
