//! What the stores of one process keep in it: news, leases, and commands on their way
//! live no longer than the process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::gateway::{
    AgentCommand, AgentId, CommandId, CommandOutcome, MAX_WAITING_COMMANDS, Moved, News,
};

/// How many news a subscriber may be behind before it is told that it missed some.
pub(super) const NEWS: usize = 1024;

/// See above.
#[derive(Debug)]
pub(super) struct Local {
    news: broadcast::Sender<News>,
    recorded: watch::Sender<u64>,
    state: Mutex<State>,
    changes: Changes,
}

/// How many changes were made, by area.
#[derive(Debug, Default)]
struct Changes {
    tenancy: AtomicU64,
    gateway: AtomicU64,
}

/// What others have to know of a change, once it is made.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// It counts in the tenancy area.
    pub(super) tenancy: bool,
    /// It counts in the gateway area, and is announced for each workspace.
    pub(super) moved: Vec<Moved>,
    /// Whether events were recorded.
    pub(super) recorded: bool,
}

#[derive(Debug, Default)]
struct State {
    leases: HashMap<String, Lease>,
    commands: BTreeMap<CommandId, Command>,
}

#[derive(Debug)]
struct Lease {
    holder: Uuid,
    ends: Instant,
}

#[derive(Debug)]
struct Command {
    command: AgentCommand,
    ends: Instant,
    taken: bool,
    outcome: Option<CommandOutcome>,
}

impl Command {
    fn waits(&self) -> bool {
        !self.taken && self.ends > Instant::now()
    }
}

impl Local {
    pub(super) fn new() -> Self {
        Self {
            news: broadcast::Sender::new(NEWS),
            recorded: watch::Sender::new(0),
            state: Mutex::default(),
            changes: Changes::default(),
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Counts a change: after it can be read, and before it is answered.
    pub(super) fn count(&self, effect: &Effect) {
        if effect.tenancy {
            self.changes.tenancy.fetch_add(1, Ordering::SeqCst);
        }
        if !effect.moved.is_empty() {
            self.changes.gateway.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Tells others of a change, once it is answered or about to be.
    pub(super) fn tell(&self, Effect { tenancy: _, moved, recorded }: Effect) {
        moved.into_iter().for_each(|it| self.announce(News::Moved(it)));
        if recorded {
            self.recorded();
        }
    }

    pub(super) fn tenancy_changes(&self) -> u64 {
        self.changes.tenancy.load(Ordering::SeqCst)
    }

    pub(super) fn gateway_changes(&self) -> u64 {
        self.changes.gateway.load(Ordering::SeqCst)
    }

    pub(super) fn announce(&self, news: News) {
        // Nobody may be listening.
        let _ = self.news.send(news);
    }

    /// Changes whenever events were recorded.
    pub(super) fn watch_events(&self) -> watch::Receiver<u64> {
        self.recorded.subscribe()
    }

    /// Events were recorded.
    pub(super) fn recorded(&self) {
        self.recorded.send_modify(|it| *it += 1);
    }

    pub(super) fn take_lease(&self, name: &str, holder: Uuid, lasting: Duration) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        state.leases.retain(|_, lease| lease.ends > now);
        let lease = Lease { holder, ends: now + lasting };
        match state.leases.get_mut(name) {
            Some(held) if held.holder != holder => false,
            Some(held) => {
                *held = lease;
                true
            }
            None => {
                state.leases.insert(name.to_owned(), lease);
                true
            }
        }
    }

    pub(super) fn return_lease(&self, name: &str, holder: Uuid) {
        self.lock().leases.retain(|held, lease| held != name || lease.holder != holder);
    }

    pub(super) fn add_command(&self, command: AgentCommand, lasting: Duration) -> bool {
        let agent_id = command.agent_id;
        let ends = Instant::now() + lasting;
        {
            let mut state = self.lock();
            state.commands.retain(|_, it| it.ends > Instant::now());
            let waiting = state.commands.values().filter(|it| it.command.agent_id == agent_id);
            if waiting.filter(|it| it.waits()).count() >= MAX_WAITING_COMMANDS {
                return false;
            }
            let added = Command { command, ends, taken: false, outcome: None };
            state.commands.insert(added.command.id, added);
        }
        self.announce(News::CommandWaiting(agent_id));
        true
    }

    pub(super) fn waiting_commands(&self) -> Vec<AgentId> {
        let state = self.lock();
        let waiting = state.commands.values().filter(|it| it.waits());
        let mut agents: Vec<_> = waiting.map(|it| it.command.agent_id).collect();
        agents.sort_unstable();
        agents.dedup();
        agents
    }

    pub(super) fn take_commands(&self, agent: AgentId) -> Vec<AgentCommand> {
        let mut state = self.lock();
        let waiting = state.commands.values_mut();
        let waiting = waiting.filter(|it| it.command.agent_id == agent && it.waits());
        waiting
            .map(|it| {
                it.taken = true;
                it.command.clone()
            })
            .collect()
    }

    pub(super) fn answer_command(&self, id: CommandId, outcome: CommandOutcome) {
        if let Some(command) = self.lock().commands.get_mut(&id) {
            command.outcome = Some(outcome);
        }
        self.announce(News::CommandAnswered(id));
    }

    pub(super) fn command_outcome(&self, id: CommandId) -> Option<CommandOutcome> {
        self.lock().commands.get(&id).and_then(|it| it.outcome.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
