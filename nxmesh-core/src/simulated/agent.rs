use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{Conduct, SimulatedState, life::Life};
use crate::{Secret, gateway::link::Connector};

/// An agent without an nginx, which ends with this. It confirms whatever it is sent unless its
/// conduct is another, and does whatever it is told.
#[derive(Debug)]
pub struct SimulatedAgent {
    state: watch::Receiver<SimulatedState>,
    conduct: watch::Sender<Conduct>,
    _task: JoinSet<()>,
}

/// An agent confirmed all of a version.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed {
    /// Which.
    pub version: u64,
    /// When.
    pub at: Instant,
}

impl SimulatedAgent {
    /// Starts one that dials again whenever it is cut off. It waits until somebody takes what it
    /// has to tell of what it confirmed, if that is asked for.
    #[must_use]
    pub fn start(
        connector: Arc<dyn Connector>,
        token: Secret<String>,
        confirm: Option<mpsc::Sender<Confirmed>>,
    ) -> Self {
        let (sender, state) = watch::channel(SimulatedState::default());
        let (conduct, conducts) = watch::channel(Conduct::default());
        let life = Life::new(connector, token, confirm, sender, conducts);
        let mut task = JoinSet::new();
        task.spawn(life.live());
        Self { state, conduct, _task: task }
    }

    /// Has it behave otherwise from now on, and say so at once. What changes nothing is not said.
    pub fn conduct(&self, change: impl FnOnce(&mut Conduct)) {
        self.conduct.send_if_modified(|conduct| {
            let before = conduct.clone();
            change(conduct);
            *conduct != before
        });
    }

    /// How it is now.
    #[must_use]
    pub fn state(&self) -> SimulatedState {
        self.state.borrow().clone()
    }

    /// Waits until it is so, and answers how it is then.
    pub async fn until(&self, so: impl FnMut(&SimulatedState) -> bool + Send) -> SimulatedState {
        let mut state = self.state.clone();
        // The other end lives as long as this does.
        match state.wait_for(so).await {
            Ok(state) => state.clone(),
            Err(_) => self.state(),
        }
    }
}
