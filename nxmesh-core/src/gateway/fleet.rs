//! Which agents are connected here, and how to reach them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, ErrorKind, Result,
    gateway::{AgentId, link::CommandAction},
};

/// How many commands may wait for one agent; one more is refused.
const MAX_ORDERS: usize = 16;

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

#[derive(Debug)]
struct Session {
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
        let session = Session { epoch, end: end.clone(), orders: sender };
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
