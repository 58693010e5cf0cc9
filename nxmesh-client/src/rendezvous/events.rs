use std::{collections::VecDeque, time::Duration};

use nxmesh_core::rendezvous::Millis;
use reqwest::header;
use tokio::time::{Instant, timeout_at};

use super::{
    PeerEvent, RendezvousClient,
    sse::{SseDecoder, SseEvent},
};
use crate::{Error, Result, request::Call, sender};

/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Which events.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EventFilter {
    /// Answers and candidates after which stamp; all that there are, if not set.
    pub since: Option<Millis>,
    /// New offers of which topics, too: 50 at most, and none with a comma in its name.
    pub topics: Vec<String>,
}

/// What happens to a peer, as it happens: one connection, which ends when it breaks.
///
/// [`Signaler`](super::Signaler) is what connects again.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    decoder: SseDecoder,
    waiting: VecDeque<SseEvent>,
    /// Until then something has to be said.
    deadline: Instant,
    since: Option<Millis>,
}

impl RendezvousClient {
    /// Connects to what happens to the peer, and waits until the server says something: what stands
    /// between may keep that to itself.
    ///
    /// # Errors
    /// 401 without a credential; [`Error::Answer`] where there is no such thing; [`Error::Socket`] where
    /// nothing comes.
    pub async fn events(&self, filter: &EventFilter) -> Result<Events> {
        let EventFilter { since, topics } = filter;
        let mut call = Call::get("events".to_owned());
        if let Some(since) = since {
            call = call.query("since", since.to_string());
        }
        if !topics.is_empty() {
            call = call.query("topics", topics.join(","));
        }
        // Servers begin with something that is no event.
        let deadline = Instant::now() + self.patience().min(SILENCE);
        let response = self.stream(&call).await?;
        let medium = response.headers().get(header::CONTENT_TYPE);
        let medium = medium.and_then(|it| it.to_str().ok()).unwrap_or_default();
        if !medium.starts_with("text/event-stream") {
            return Err(Error::Answer { status: response.status().as_u16(), source: None });
        }
        let (decoder, waiting) = (SseDecoder::default(), VecDeque::new());
        let mut events = Events { response, decoder, waiting, deadline, since: *since };
        if events.read().await? { Ok(events) } else { Err(sender::silent()) }
    }
}

impl Events {
    /// The next event; `None` when the connection is over. Nothing is lost when this is dropped
    /// before it is done.
    ///
    /// # Errors
    /// When the connection breaks, or something comes that is not understood.
    pub async fn next(&mut self) -> Result<Option<PeerEvent>> {
        loop {
            while let Some(SseEvent { data, id }) = self.waiting.pop_front() {
                let event = PeerEvent::parse(&data)
                    .map_err(|source| Error::Answer { status: 200, source: Some(source) })?;
                self.since = id.parse().ok().or(self.since);
                if let Some(event) = event {
                    return Ok(Some(event));
                }
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for what is said next, an event or not; `false` when the connection is over.
    async fn read(&mut self) -> Result<bool> {
        let said = timeout_at(self.deadline, self.response.chunk()).await;
        let Some(bytes) = said.map_err(|_| sender::silent())?.map_err(Error::Transport)? else {
            return Ok(false);
        };
        self.deadline = Instant::now() + SILENCE;
        let mut events = Vec::new();
        let fed = self.decoder.feed(&bytes, &mut events);
        self.waiting.extend(events);
        fed.map_err(|error| Error::Socket(Box::new(error)))?;
        Ok(true)
    }

    /// The stamp of the last event: where to go on.
    #[must_use]
    pub const fn since(&self) -> Option<Millis> {
        self.since
    }
}
