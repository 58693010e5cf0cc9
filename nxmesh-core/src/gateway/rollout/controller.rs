//! Takes rollouts on, on one server at a time. Each step is one change of the store, made only on
//! the version that it was decided on: whichever server goes on, nothing is done twice.

use std::time::Duration;

use super::{
    AgentView, Rollout, RolloutState,
    steps::{Told, step, take_back},
    trail, view_of,
};
use crate::{
    PageRequest, Result, Trail,
    gateway::{AgentFilter, context::Context, project::Published},
    lease::Leases,
};

/// How often it looks.
const PAUSE: Duration = Duration::from_secs(1);
const LEASE: &str = "rollouts";

/// Looks again and again, until told to stop.
pub(in crate::gateway) async fn run(context: Context, leases: Leases) {
    let stopping = context.tasks.stopping().clone();
    while !stopping.is_cancelled() {
        tokio::select! {
            () = look(&context, &leases) => {}
            () = stopping.cancelled() => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stopping.cancelled() => {}
        }
    }
    leases.give_back(LEASE).await;
}

async fn look(context: &Context, leases: &Leases) {
    let under_way = match context.store.rollouts_under_way().await {
        Ok(under_way) => under_way,
        Err(error) => {
            tracing::debug!(%error, "cannot look for rollouts");
            return;
        }
    };
    // Nobody needs the lease while there is nothing to do.
    if under_way.is_empty() || !leases.has(LEASE).await {
        return;
    }
    for rollout in under_way {
        if let Err(error) = go_on(context, &rollout).await {
            tracing::warn!(rollout_id = %rollout.id, %error, "a rollout will be tried again");
        }
    }
}

async fn go_on(context: &Context, rollout: &Rollout) -> Result<()> {
    let published = context.snapshots.newest(rollout.workspace_id).await?;
    let now = context.clock.now();
    let settings = published.snapshot.settings();
    let (next, told) = if settings.staged_since == Some(rollout.staged_since) {
        if rollout.state != RolloutState::Running {
            return Ok(());
        }
        let fleet = fleet(context, &published, rollout).await?;
        let Some(next) = step(rollout, &fleet, now) else { return Ok(()) };
        next
    } else {
        let mut next = rollout.clone();
        let reason = "staged delivery was ended while it was under way".to_owned();
        take_back(&mut next, RolloutState::Aborted, reason, now);
        (next.next_version(now), vec![Told::Aborted])
    };
    let organization = published.snapshot.organization_id();
    let events = trail::events(&next, organization, &told, now);
    // Whoever was faster knows better.
    if context.store.put_rollout(&next, Trail::of_events(events)).await? {
        tracing::info!(rollout_id = %next.id, state = ?next.state, reason = ?next.reason, ?told, "rollout");
    }
    Ok(())
}

/// The agents of a workspace, as a rollout sees them.
pub(in crate::gateway) async fn fleet(
    context: &Context,
    published: &Published,
    rollout: &Rollout,
) -> Result<Vec<AgentView>> {
    let of = rollout.workspace_id;
    let served = context.snapshots.at(of, rollout.revision, published).await?;
    let alive_since = context.alive_since();
    let all = AgentFilter { state: None, label_selector: None, alive_since };
    let agents = context.store.agents(of, &all, PageRequest::whole()).await?;
    let view =
        |it: &crate::gateway::AgentRecord| view_of(it, &served.update_for(&it.spec), alive_since);
    Ok(agents.data.iter().map(view).collect())
}
