//! Which agents are connected here, and how to reach them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    AgentFigures, Error, ErrorKind, Result,
    gateway::{AgentCount, AgentId, GatewayStore, link::CommandAction},
};

/// How many commands may wait for one agent; one more is refused.
const MAX_ORDERS: usize = 16;
/// How long a count of all agents is good enough.
const RECENT: Duration = Duration::from_secs(5);

/// The sessions of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_agent: HashMap<AgentId, Session>,
    last_epoch: u64,
}

/// How a connected agent is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) degraded: bool,
    /// By how many revisions what it is proven to serve is behind what it should; `None` when it
    /// serves that.
    pub(crate) behind: Option<u64>,
    /// Since when.
    pub(crate) behind_since: Option<Instant>,
    /// Whether it holds a part back.
    pub(crate) holds_back: bool,
    /// Whether somebody else changed what it looks after.
    pub(crate) drifted: bool,
    /// How many servers behind it fail their checks.
    pub(crate) unhealthy_servers: u64,
}

/// How many agents the store has, as of some seconds ago at most.
#[derive(Debug, Default)]
pub(crate) struct RecentCount(tokio::sync::Mutex<Option<(Instant, AgentCount)>>);

impl RecentCount {
    pub(crate) async fn get(&self, store: &dyn GatewayStore) -> Result<AgentCount> {
        let mut known = self.0.lock().await;
        if let Some((at, count)) = *known
            && at.elapsed() < RECENT
        {
            return Ok(count);
        }
        let count = store.agent_count().await?;
        *known = Some((Instant::now(), count));
        Ok(count)
    }
}

#[derive(Debug)]
struct Session {
    progress: Progress,
    epoch: u64,
    end: CancellationToken,
    orders: mpsc::Sender<Order>,
}

/// A session's place in the fleet; giving it up frees the place, unless a newer
/// session has taken it.
#[derive(Debug)]
pub(crate) struct Seat {
    fleet: Fleet,
    agent: AgentId,
    epoch: u64,
    /// Cancelled when a newer session takes over, or the agent is deleted.
    pub(crate) end: CancellationToken,
    /// What the agent should do now.
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// A command, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) action: CommandAction,
    pub(crate) outcome: oneshot::Sender<Outcome>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) message: String,
}

impl Fleet {
    /// Seats a session of this agent; an older one is told to end.
    pub(crate) fn enter(&self, agent: AgentId) -> Seat {
        let (sender, orders) = mpsc::channel(MAX_ORDERS);
        let end = CancellationToken::new();
        let mut sessions = self.lock();
        sessions.last_epoch += 1;
        let epoch = sessions.last_epoch;
        let progress = Progress::default();
        let session = Session { progress, epoch, end: end.clone(), orders: sender };
        if let Some(older) = sessions.by_agent.insert(agent, session) {
            older.end.cancel();
        }
        Seat { fleet: self.clone(), agent, epoch, end, orders }
    }

    /// Ends the session of this agent, if it has one here.
    pub(crate) fn dismiss(&self, agent: AgentId) {
        if let Some(session) = self.lock().by_agent.remove(&agent) {
            session.end.cancel();
        }
    }

    /// Whether the agent is connected here.
    pub(crate) fn has(&self, agent: AgentId) -> bool {
        self.lock().by_agent.contains_key(&agent)
    }

    /// How the connected agents are doing.
    pub(crate) fn figures(&self) -> AgentFigures {
        let mut figures = AgentFigures::default();
        let now = Instant::now();
        for session in self.lock().by_agent.values() {
            let Progress { degraded, behind, behind_since, holds_back, drifted, unhealthy_servers } =
                &session.progress;
            *if *degraded { &mut figures.degraded } else { &mut figures.online } += 1;
            figures.holding_back += u64::from(*holds_back);
            figures.drifted += u64::from(*drifted);
            figures.unhealthy_servers += unhealthy_servers;
            if let Some(revisions) = behind {
                figures.behind += 1;
                figures.furthest_behind = figures.furthest_behind.max(*revisions);
                let seconds = behind_since.map_or(0, |it| now.duration_since(it).as_secs());
                figures.longest_behind_seconds = figures.longest_behind_seconds.max(seconds);
            }
        }
        figures
    }

    /// Has the agent do something, and waits for its answer.
    pub(crate) async fn order(
        &self,
        agent: AgentId,
        action: CommandAction,
        patience: Duration,
    ) -> Result<Outcome> {
        let unavailable = |message| Error::new(ErrorKind::Unavailable, message);
        let orders = self.lock().by_agent.get(&agent).map(|session| session.orders.clone());
        let orders = orders.ok_or_else(|| unavailable("the agent is not connected"))?;
        let (outcome, answer) = oneshot::channel();
        let full = |_| unavailable("too many commands wait for the agent: try again later");
        orders.try_send(Order { action, outcome }).map_err(full)?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(unavailable("the agent disconnected before it answered")),
            Err(_) => Err(unavailable("the agent did not answer in time")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Notes how the agent is doing.
    pub(crate) fn note(&self, progress: Progress) {
        let mut sessions = self.fleet.lock();
        let ours = sessions.by_agent.get_mut(&self.agent).filter(|it| it.epoch == self.epoch);
        if let Some(session) = ours {
            session.progress = progress;
        }
    }

    /// Whether no newer session has taken over.
    pub(crate) fn is_ours(&self) -> bool {
        self.fleet.lock().by_agent.get(&self.agent).is_some_and(|it| it.epoch == self.epoch)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.fleet.lock();
        if sessions.by_agent.get(&self.agent).is_some_and(|it| it.epoch == self.epoch) {
            sessions.by_agent.remove(&self.agent);
        }
    }
}
