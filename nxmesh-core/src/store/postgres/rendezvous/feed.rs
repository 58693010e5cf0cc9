//! News between servers, by `NOTIFY`, and the task that adds up what was counted.
//!
//! What is new is told to this server at once, and gathered for the others, as the
//! [feed of the store](crate::store::postgres) does. Each server numbers its notifications, and says
//! something once a second: so the others know when they have missed some.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::{Notify, broadcast},
    time::{Instant, timeout},
};
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use super::wire::{Item, Notification, items, together};
use crate::{
    Result, Tasks,
    rendezvous::RendezvousNews,
    store::{
        local::NEWS,
        postgres::{
            connections::Connections,
            error::unavailable,
            feed::{HEARTBEAT, MAX_WAITING, RETRY, SILENCE, listen, notify},
        },
    },
};

const CHANNEL: &str = "nxmesh_rendezvous";
/// How long what was counted waits for more, before it is added up.
const GATHER: Duration = Duration::from_millis(100);
/// How many changes are added up together.
const TOGETHER: i64 = 5000;

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
    news: broadcast::Sender<RendezvousNews>,
    waiting: Mutex<Waiting>,
    wake: Notify,
    counted: Notify,
    listens: bool,
}

/// What is to be said.
#[derive(Debug, Default)]
struct Waiting {
    items: HashSet<Item>,
    /// Some could not be said.
    missed: bool,
}

/// Who else was heard: the number of the last notification, and when it came.
type Heard = HashMap<Uuid, (u64, Instant)>;

impl Feed {
    pub(super) fn start(
        options: PgConnectOptions,
        connections: Arc<Connections>,
        listens: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            own: Uuid::new_v4(),
            news: broadcast::Sender::new(NEWS),
            waiting: Mutex::default(),
            wake: Notify::new(),
            counted: Notify::new(),
            listens,
        });
        let tasks = Tasks::default();
        let _tasks = tasks.stop_on_drop();
        if listens {
            let connections = Arc::clone(&connections);
            tasks.spawn(Arc::clone(&shared).listen(options, connections, tasks.clone()));
        }
        tasks.spawn(Arc::clone(&shared).fold(Arc::clone(&connections), tasks.clone()));
        tasks.spawn(Arc::clone(&shared).tell(connections, tasks.clone()));
        Self { shared, _tasks }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<RendezvousNews> {
        self.shared.news.subscribe()
    }

    /// Tells this server at once, and the others soon.
    pub(super) fn announce(&self, news: RendezvousNews) {
        let found = items(&news);
        self.shared.hear(news);
        let mut waiting = self.shared.lock();
        for item in found {
            if waiting.items.len() < MAX_WAITING {
                waiting.items.insert(item);
            } else {
                waiting.missed = true;
            }
        }
        drop(waiting);
        self.shared.wake.notify_one();
    }

    /// Something was counted: it is added up soon.
    pub(super) fn count(&self) {
        self.shared.counted.notify_one();
    }
}

impl Shared {
    fn hear(&self, news: RendezvousNews) {
        // Nobody may be listening.
        let _ = self.news.send(news);
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
                tracing::debug!(%error, "does not hear of other servers of rendezvous");
            }
            pause(RETRY, &tasks).await;
        }
    }

    /// Listens until that does not work any more.
    async fn listen_once(&self, options: &PgConnectOptions) -> Result<()> {
        let silence = |_| unavailable("the database is silent");
        let mut listener = listen(options, CHANNEL).await?;
        let mut heard = Heard::new();
        // Whatever was said before.
        self.hear(RendezvousNews::Missed);
        loop {
            let said = timeout(SILENCE, listener.try_recv()).await.map_err(silence)??;
            let Some(said) = said else { return Ok(()) };
            match serde_json::from_str::<Notification>(said.payload()) {
                Ok(said) if said.from != self.own => self.take(said, &mut heard),
                Ok(_) => {}
                Err(error) => {
                    // A newer server may have more to say.
                    tracing::debug!(%error, "a notification is not understood");
                    self.hear(RendezvousNews::Missed);
                }
            }
            let before = heard.len();
            heard.retain(|_, (_, at)| at.elapsed() < SILENCE);
            if heard.len() < before {
                // One ended, and may have had something to say.
                self.hear(RendezvousNews::Missed);
            }
        }
    }

    fn take(&self, said: Notification, heard: &mut Heard) {
        let Notification { from, number, items, leaves } = said;
        let last = heard.insert(from, (number, Instant::now()));
        if last.is_some_and(|(last, _)| number != last + 1) {
            self.hear(RendezvousNews::Missed);
        }
        if leaves {
            heard.remove(&from);
        }
        together(items).into_iter().for_each(|it| self.hear(it));
    }

    /// Sends what waits; probes the database while it is away.
    async fn tell(self: Arc<Self>, connections: Arc<Connections>, tasks: Tasks) {
        let mut number = 0;
        while !tasks.stopping().is_cancelled() {
            tokio::select! {
                () = self.wake.notified() => {}
                () = connections.went_down.notified() => {}
                () = tokio::time::sleep(HEARTBEAT) => {
                    if !self.listens {
                        self.hear(RendezvousNews::Missed);
                    }
                }
                () = tasks.stopping().cancelled() => break,
            }
            let told = self.tell_all(&connections, &mut number, false).await;
            if told.is_err() && !connections.probe().await {
                pause(RETRY, &tasks).await;
            }
        }
        if self.tell_all(&connections, &mut number, true).await.is_err() {
            tracing::debug!("the last news of rendezvous did not go out");
        }
        connections.close().await;
    }

    async fn tell_all(
        &self,
        connections: &Connections,
        number: &mut u64,
        leaves: bool,
    ) -> Result<()> {
        let Waiting { items, missed } = mem::take(&mut *self.lock());
        let mut items: Vec<_> = items.into_iter().collect();
        if missed {
            items.push(Item::Missed);
        }
        for payload in Notification::all(self.own, number, items, leaves) {
            if let Err(error) = notify(connections, CHANNEL, payload).await {
                self.lock().missed = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Adds up what was counted, by whichever server.
    async fn fold(self: Arc<Self>, connections: Arc<Connections>, tasks: Tasks) {
        while !tasks.stopping().is_cancelled() {
            tokio::select! {
                () = self.counted.notified() => pause(GATHER, &tasks).await,
                () = tokio::time::sleep(HEARTBEAT) => {}
                () = tasks.stopping().cancelled() => return,
            }
            // The next one goes on, where this one could not.
            if let Err(error) = fold_all(&connections).await {
                tracing::debug!(%error, "what was counted waits to be added up");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fold_all(connections: &Connections) -> Result<()> {
    let sql = "SELECT WHERE rendezvous_fold($1) = $1";
    while connections.execute(sqlx::query(sql).bind(TOGETHER)).await? > 0 {}
    Ok(())
}

async fn pause(lasting: Duration, tasks: &Tasks) {
    tokio::select! {
        () = tokio::time::sleep(lasting) => {}
        () = tasks.stopping().cancelled() => {}
    }
}
