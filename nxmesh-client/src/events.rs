use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{Stream, stream};
use nxmesh_core::events::{Event, EventFilter, EventId, EventPattern};

use crate::{
    Client, Error, Result,
    socket::{Said, Socket},
};

/// What happens, as it happens: `client.events()`.
#[derive(Debug, Clone)]
pub struct Events {
    client: Client,
}

/// What to watch.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Watch {
    /// Which types of event; all, if none is named.
    pub patterns: Vec<EventPattern>,
    /// Where.
    pub filter: EventFilter,
    /// After which event; from now on, if not set.
    pub since: Option<EventId>,
}

/// What a stream of events hands out.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// Something happened.
    Event(Box<Event>),
    /// So many events came and went unseen, at most; `None` when not even that is known. What
    /// they told of is to be read anew.
    Missed(Option<u64>),
}

impl Events {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Begins to watch. A connection that breaks is made again, for as long as it takes, and
    /// goes on after the last event: nothing is lost that the server still has.
    ///
    /// ```no_run
    /// # async fn f(client: nxmesh_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::TryStreamExt;
    /// use nxmesh_client::{Received, Watch};
    ///
    /// let mut watch = Watch::default();
    /// watch.patterns = vec!["agent.*".parse()?];
    /// let mut events = client.events().watch(watch).await?;
    /// while let Some(received) = events.try_next().await? {
    ///     match received {
    ///         Received::Event(it) => println!("{} {}", it.event.timestamp, it.event.event_type),
    ///         Received::Missed(_) => println!("look at everything anew"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the first connection; later the stream ends with an error when the client is
    /// not let in any more.
    pub async fn watch(&self, watch: Watch) -> Result<EventStream> {
        let Watch { mut patterns, filter, since } = watch;
        if patterns.is_empty() {
            patterns.push(EventPattern::All);
        }
        let mut watching =
            Watching { client: self.client.clone(), patterns, filter, since, socket: None };
        watching.connect().await?;
        let stream = stream::unfold(Some(watching), async |watching| {
            let mut watching = watching?;
            let received = watching.next().await;
            let goes_on = received.is_ok();
            Some((received, goes_on.then_some(watching)))
        });
        Ok(EventStream(Box::pin(stream)))
    }
}

/// Events as they happen; see [`Events::watch`].
pub struct EventStream(Pin<Box<dyn Stream<Item = Result<Received>> + Send>>);

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

impl Stream for EventStream {
    type Item = Result<Received>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

struct Watching {
    client: Client,
    patterns: Vec<EventPattern>,
    filter: EventFilter,
    since: Option<EventId>,
    socket: Option<Socket>,
}

impl Watching {
    async fn next(&mut self) -> Result<Received> {
        loop {
            let Some(socket) = &mut self.socket else {
                if let Some(received) = self.connect_again().await? {
                    return Ok(received);
                }
                continue;
            };
            match socket.next().await {
                Some(Said::Event(event)) => {
                    self.since = Some(event.id);
                    return Ok(Received::Event(event));
                }
                Some(Said::Lagged(missed)) => return Ok(Received::Missed(Some(missed))),
                Some(Said::Subscribed(since)) => self.since = since.or(self.since),
                Some(Said::Refused(error)) if error.status == 401 => self.socket = None,
                Some(Said::Refused(error)) => return Err(Error::Api(error)),
                None => self.socket = None,
            }
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let mut socket = self.client.open_socket(self.since).await?;
        socket.subscribe(&self.patterns, &self.filter).await?;
        self.socket = Some(socket);
        Ok(())
    }

    /// Connects, however often that takes.
    async fn connect_again(&mut self) -> Result<Option<Received>> {
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(10))
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let error = match self.connect().await {
                Ok(()) => return Ok(None),
                Err(error) => error,
            };
            match error.api() {
                // The server does not know the event: it was set back.
                Some(refused) if refused.details.iter().any(|it| it.field == "since") => {
                    self.since = None;
                    return Ok(Some(Received::Missed(None)));
                }
                Some(refused) if matches!(refused.status, 401 | 403 | 404 | 422) => {
                    return Err(error);
                }
                Some(_) | None => tokio::time::sleep(waits.next().unwrap_or_default()).await,
            }
        }
    }
}
