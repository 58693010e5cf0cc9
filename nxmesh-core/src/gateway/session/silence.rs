//! Telling that agents are gone when the server that held them died, and cannot.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Clock, Result,
    clock::new_id,
    gateway::{
        AgentId, AgentStatus, GatewayStore, SessionId, SilentAgent, reports::agent_events::About,
    },
};

/// How many agents are looked at in a round.
const MOST: usize = 4096;
/// How many of them are let go at the same time.
const AT_ONCE: usize = 16;

/// Lets go of agents that were not heard of for three heartbeats, in rounds.
///
/// An agent must be silent in two rounds, with time for a heartbeat between them: after a time in
/// which nothing could be recorded all agents look silent, and those that live then speak first.
/// One that is taken from a server that still holds its stream is refused there, and comes back.
#[derive(Debug)]
pub(crate) struct Silence {
    store: Arc<dyn GatewayStore>,
    clock: Arc<dyn Clock>,
    heartbeat_interval: Duration,
    /// Those that were silent in the round before.
    noted: Mutex<Noted>,
}

/// By which connection, and when, each was last heard of.
type Noted = HashMap<AgentId, (Option<SessionId>, DateTime<Utc>)>;

impl Silence {
    pub(crate) fn new(
        store: Arc<dyn GatewayStore>,
        clock: Arc<dyn Clock>,
        heartbeat_interval: Duration,
    ) -> Self {
        Self { store, clock, heartbeat_interval, noted: Mutex::default() }
    }

    /// How long to wait between two rounds: an agent that lives has spoken meanwhile, even if
    /// it is late.
    pub(crate) const fn pause(heartbeat_interval: Duration) -> Duration {
        heartbeat_interval.saturating_mul(2)
    }

    /// Notes who is silent, and lets those go who were so before. Should it fail, or be given
    /// up, nobody counts as noted.
    pub(crate) async fn round(&self) -> Result<()> {
        let noted = self.note(Noted::new());
        let before = self.clock.now() - self.heartbeat_interval * 3;
        let found = self.store.silent_agents(before, MOST).await?;
        let (again, new): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|it| noted.get(&it.agent.spec.id) == Some(&(it.agent.session, it.heard_at)));
        let gone = stream::iter(again).map(|it| self.let_go(it)).buffer_unordered(AT_ONCE);
        let gone = gone.try_fold(0_usize, async |sum, gone| Ok(sum + usize::from(gone))).await?;
        if gone > 0 {
            tracing::info!(agents = gone, "let go of agents whose server is gone");
        }
        let new = new.into_iter().map(|it| (it.agent.spec.id, (it.agent.session, it.heard_at)));
        self.note(new.collect());
        Ok(())
    }

    /// Whether it is gone: it may have come back meanwhile.
    async fn let_go(&self, silent: SilentAgent) -> Result<bool> {
        let spec = &silent.agent.spec;
        let (agent_id, workspace_id) = (spec.id, spec.workspace_id);
        let about = About { agent_id, organization_id: silent.organization_id, workspace_id };
        let events = vec![about.disconnected("connection_timeout", self.clock.now())];
        let status = AgentStatus { connected: false, ..silent.agent.status.clone() };
        let by = new_id(self.clock.as_ref());
        let gone = self.store.end_silent_session(&silent, by, &status, events).await?;
        if gone {
            tracing::info!(%agent_id, heard_at = %silent.heard_at, "agent disconnected: its server is gone");
        }
        Ok(gone)
    }

    /// Answers those that were noted before.
    fn note(&self, silent: Noted) -> Noted {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *noted, silent)
    }
}
