//! News between servers, by `NOTIFY`.
//!
//! Postgres lets only one transaction that notifies commit at a time, so a change does not
//! notify by itself: what is new is gathered, and goes out as one notification after the
//! other, each in a transaction of its own, as soon as the one before it is through. A
//! notification may be lost, with the server that should have sent it or on its way. That is
//! why whoever must not miss anything also polls.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::timeout,
};
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use super::{connections::Connections, error::unavailable};
use crate::{
    Error, Result, Tasks,
    gateway::{Moved, News},
    store::local::NEWS,
};

const CHANNEL: &str = "nxmesh";
/// Something is said at least so often, and a listener that hears nothing for several times
/// as long listens in vain.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
pub(super) const SILENCE: Duration = Duration::from_secs(4);
/// How often to try again when the database is away.
pub(super) const RETRY: Duration = Duration::from_millis(500);
/// How long connecting to listen may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How many news may wait to go out; more are left to the poll.
pub(super) const MAX_WAITING: usize = 4096;
/// How many news go out together: a notification has room for 8000 bytes.
const TOGETHER: usize = 40;

/// Hears and tells.
#[derive(Debug)]
pub(super) struct Feed {
    shared: Arc<Shared>,
    _tasks: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    /// Which server this is: what it said itself is no news to it.
    own: Uuid,
    news: broadcast::Sender<News>,
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Changes when there may be new events.
    events: watch::Sender<u64>,
}

/// What is to be said.
#[derive(Debug, Default)]
struct Waiting {
    news: HashSet<News>,
    /// Whether events were recorded.
    recorded: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Notification {
    from: Uuid,
    news: Vec<News>,
    #[serde(default)]
    recorded: bool,
}

impl Feed {
    pub(super) fn start(
        options: PgConnectOptions,
        connections: Arc<Connections>,
        listen: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            own: Uuid::new_v4(),
            news: broadcast::Sender::new(NEWS),
            waiting: Mutex::default(),
            wake: Notify::new(),
            events: watch::Sender::new(0),
        });
        let tasks = Tasks::default();
        let _tasks = tasks.stop_on_drop();
        if listen {
            let connections = Arc::clone(&connections);
            tasks.spawn(Arc::clone(&shared).listen(options, connections, tasks.clone()));
        }
        tasks.spawn(Arc::clone(&shared).tell(connections, tasks.clone()));
        Self { shared, _tasks }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<News> {
        self.shared.news.subscribe()
    }

    /// Changes when there may be new events, and at least once a second.
    pub(super) fn watch_events(&self) -> watch::Receiver<u64> {
        self.shared.events.subscribe()
    }

    /// Tells this server at once that events were recorded, and the others soon.
    pub(super) fn announce_events(&self) {
        self.shared.look_for_events();
        self.shared.lock().recorded = true;
        self.shared.wake.notify_one();
    }

    /// Tells this server at once, and the others soon.
    pub(super) fn announce(&self, news: News) {
        self.shared.hear(news);
        let mut waiting = self.shared.lock();
        if waiting.news.len() < MAX_WAITING {
            waiting.news.insert(news);
            drop(waiting);
            self.shared.wake.notify_one();
        }
    }
}

impl Shared {
    fn hear(&self, news: News) {
        // Nobody may be listening.
        let _ = self.news.send(news);
    }

    fn look_for_events(&self) {
        self.events.send_modify(|it| *it += 1);
    }

    async fn listen(
        self: Arc<Self>,
        options: PgConnectOptions,
        connections: Arc<Connections>,
        tasks: Tasks,
    ) {
        while !tasks.stopping().is_cancelled() {
            let listening = tokio::select! {
                ended = self.listen_once(&options) => ended,
                () = tasks.stopping().cancelled() => return,
            };
            connections.drop_idle();
            if let Err(error) = listening {
                tracing::debug!(%error, "does not hear of other servers; looks every second instead");
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = tasks.stopping().cancelled() => {}
            }
        }
    }

    /// Listens until that does not work any more.
    async fn listen_once(&self, options: &PgConnectOptions) -> Result<()> {
        let silence = |_| unavailable("the database is silent");
        let mut listener = listen(options, CHANNEL).await?;
        loop {
            // Cut off, a listener is not used again.
            let heard = timeout(SILENCE, listener.try_recv()).await.map_err(silence)??;
            let Some(heard) = heard else { return Ok(()) };
            match serde_json::from_str(heard.payload()) {
                Ok(Notification { from, news, recorded }) if from != self.own => {
                    news.into_iter().for_each(|it| self.hear(it));
                    if recorded {
                        self.look_for_events();
                    }
                }
                Ok(_) => {}
                // A newer server may have more to say.
                Err(error) => tracing::debug!(%error, "a notification is not understood"),
            }
        }
    }

    /// Sends what waits; probes the database while it is away.
    async fn tell(self: Arc<Self>, connections: Arc<Connections>, tasks: Tasks) {
        while !tasks.stopping().is_cancelled() {
            let told = tokio::select! {
                told = self.tell_once(&connections) => told,
                () = tasks.stopping().cancelled() => break,
            };
            if told.is_err() && !connections.probe().await {
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = tasks.stopping().cancelled() => {}
                }
            }
        }
        connections.close().await;
    }

    async fn tell_once(&self, connections: &Connections) -> Result<()> {
        tokio::select! {
            () = self.wake.notified() => {}
            () = connections.went_down.notified() => {}
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        // Whatever others recorded, should their notification be lost.
        self.look_for_events();
        let Waiting { news, recorded } = mem::take(&mut *self.lock());
        let mut waiting: Vec<_> = newest(news.into_iter());
        loop {
            let rest = waiting.split_off(waiting.len().min(TOGETHER));
            let notification = Notification { from: self.own, news: waiting, recorded };
            let payload = serde_json::to_string(&notification).unwrap_or_default();
            notify(connections, CHANNEL, payload).await?;
            if rest.is_empty() {
                return Ok(());
            }
            waiting = rest;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens to a channel, until that does not work any more: then it ends.
pub(super) async fn listen(options: &PgConnectOptions, channel: &str) -> Result<PgListener> {
    let connect = async {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT);
        let pool = pool.connect_lazy_with(options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok::<_, Error>(listener)
    };
    let silence = |_| unavailable("the database is silent");
    let mut listener = timeout(CONNECT, connect).await.map_err(silence)??;
    listener.eager_reconnect(false);
    Ok(listener)
}

/// Sends one notification.
pub(super) async fn notify(
    connections: &Connections,
    channel: &str,
    payload: String,
) -> Result<()> {
    // Nothing is lost with this transaction: it need not wait for the disk.
    let sql = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";
    connections.execute(sqlx::query(sql).bind(channel).bind(payload)).await?;
    Ok(())
}

/// Of several moves of one workspace the last one says it all.
fn newest(news: impl Iterator<Item = News>) -> Vec<News> {
    let mut heads = HashMap::new();
    let mut others = Vec::new();
    for it in news {
        match it {
            News::Moved(Moved { workspace_id, revision }) => {
                let head = heads.entry(workspace_id).or_insert(revision);
                // A workspace that is gone does not come back.
                *head = head.zip(revision).map(|(one, other)| one.max(other));
            }
            News::CommandWaiting(_) | News::CommandAnswered(_) | News::RolledOut(_) => {
                others.push(it);
            }
        }
    }
    let moved = heads.into_iter();
    let moved = moved.map(|(workspace_id, revision)| News::Moved(Moved { workspace_id, revision }));
    moved.chain(others).collect()
}
