use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::sync::DropGuard;

use crate::{
    AgentFigures, Clock, Distribution, Result, Tasks,
    events::Events,
    figures::Buckets,
    gateway::{
        AgentCount, Agents, Changes, GatewayStore, Revisions, Rollouts, Upstreams, VirtualHosts,
        config::Aside,
        context::{AtHand, Context, Shared},
        dispatch,
        fleet::{Fleet, RecentCount},
        link::{HealthReport, LinkHost, ServerLink},
        rollout, session,
        snapshots::Snapshots,
    },
    lease::Leases,
    tenancy::Tenancy,
};

/// The handle of the area: `mesh.gateway()`.
#[derive(Debug, Clone)]
pub struct Gateway {
    context: Context,
    /// Sessions and followers end with the last handle.
    _tasks: Arc<DropGuard>,
}

impl Gateway {
    pub(crate) fn open(
        store: Arc<dyn GatewayStore>,
        tenancy: Tenancy,
        events: Events,
        clock: Arc<dyn Clock>,
        leases: Leases,
        tasks: Tasks,
        heartbeat_interval: Duration,
    ) -> Self {
        let snapshots = Snapshots::new(Arc::clone(&store));
        tasks.spawn(snapshots.clone().follow(store.subscribe(), tasks.clone()));
        let _tasks = tasks.stop_on_drop();
        let context = Arc::new(Shared {
            store,
            tenancy,
            clock,
            tasks,
            snapshots,
            fleet: Fleet::default(),
            at_hand: AtHand::default(),
            agent_count: RecentCount::default(),
            commits: Arc::new(Buckets::of_commits()),
            events,
            aside: Aside::default(),
            heartbeat_interval,
        });
        let commands = dispatch::serve(context.clone(), context.store.subscribe());
        context.tasks.spawn(commands);
        context.tasks.spawn(rollout::run(context.clone(), leases));
        Self { context, _tasks }
    }

    /// The hosts beside nginx.
    #[must_use]
    pub fn agents(&self) -> Agents {
        Agents::new(self.context.clone())
    }

    /// What is served.
    #[must_use]
    pub fn virtual_hosts(&self) -> VirtualHosts {
        VirtualHosts::new(self.context.clone())
    }

    /// Several changes as one.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.context.clone())
    }

    /// What a workspace was.
    #[must_use]
    pub fn revisions(&self) -> Revisions {
        Revisions::new(self.context.clone())
    }

    /// Revisions on their way to agents.
    #[must_use]
    pub fn rollouts(&self) -> Rollouts {
        Rollouts::new(self.context.clone())
    }

    /// What stands behind it.
    #[must_use]
    pub fn upstreams(&self) -> Upstreams {
        Upstreams::new(self.context.clone())
    }
}

impl Gateway {
    /// Serves one connection until it ends.
    pub(crate) fn serve(&self, link: ServerLink) -> impl Future<Output = ()> + Send + use<> {
        session::run(self.context.clone(), link)
    }

    /// What the area counts: the agents, and how many changes were committed together.
    pub(crate) async fn figures(&self) -> (AgentFigures, Distribution) {
        let mut agents = self.context.fleet.figures();
        match self.context.agent_count.get(self.context.store.as_ref()).await {
            Ok(AgentCount { all, seen }) => {
                (agents.registered, agents.pending) = (Some(all), Some(all.saturating_sub(seen)));
            }
            Err(error) => tracing::debug!(%error, "cannot count the agents"),
        }
        (agents, self.context.commits.read(1.0))
    }
}

#[async_trait]
impl LinkHost for Gateway {
    fn attach(&self, link: ServerLink) {
        self.context.tasks.spawn(self.serve(link));
    }

    async fn report_health(&self, credential: &str, report: &HealthReport) -> Result<()> {
        session::report_health(&self.context, credential, report).await
    }
}
