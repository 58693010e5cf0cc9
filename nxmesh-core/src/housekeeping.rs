//! Dropping what has expired, and what is older than is to be kept, and telling of agents whose
//! server died, on one server at a time.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use chrono::TimeDelta;

use crate::{
    Clock, Result, Retention, Tasks, gateway::session::Silence, lease::Leases, store::Stores,
};

/// How often.
const PAUSE: Duration = Duration::from_secs(60);
/// How long what has expired is kept, so that whoever comes with it is told that it has.
const KEPT: TimeDelta = TimeDelta::days(1);

/// Starts it; it ends with the tasks.
pub(crate) fn start(
    stores: Stores,
    clock: Arc<dyn Clock>,
    retention: Retention,
    heartbeat_interval: Duration,
    tasks: &Tasks,
) {
    let leases = Leases::new(Arc::clone(&stores.leases), clock.as_ref(), tasks.clone());
    let silence = Silence::new(Arc::clone(&stores.gateway), Arc::clone(&clock), heartbeat_interval);
    let (silence, pause) = (Arc::new(silence), Silence::pause(heartbeat_interval));
    tasks.spawn(leases.clone().repeat("silent agents", pause, move || {
        let silence = Arc::clone(&silence);
        async move { silence.round().await }
    }));
    tasks.spawn(leases.repeat("housekeeping", PAUSE, move || {
        let (stores, clock) = (stores.clone(), Arc::clone(&clock));
        async move {
            drop_expired(&stores, clock.as_ref()).await?;
            drop_old(&stores, clock.as_ref(), retention).await?;
            drop_revisions(&stores, retention.revisions).await
        }
    }));
}

async fn drop_expired(stores: &Stores, clock: &dyn Clock) -> Result<()> {
    let before = clock.now() - KEPT;
    let tokens = stores.tenancy.drop_expired(before).await?;
    let secrets = stores.gateway.drop_expired(before).await?;
    let mut keys = 0;
    loop {
        match stores.idempotency.drop_expired(clock.now()).await? {
            0 => break,
            dropped => keys += dropped,
        }
    }
    if tokens + secrets + keys > 0 {
        tracing::debug!(tokens, secrets, keys, "dropped what has expired");
    }
    Ok(())
}

async fn drop_old(stores: &Stores, clock: &dyn Clock, retention: Retention) -> Result<()> {
    let Retention { events, audit_days, revisions: _ } = retention;
    let events = stores.events.drop_events(events.max(Retention::MIN_EVENTS)).await?;
    let entries = match audit_days {
        0 => 0,
        days => {
            let before = clock.now() - TimeDelta::days(days.into());
            stores.tenancy.drop_audit_entries(before).await?
        }
    };
    if events + entries > 0 {
        tracing::debug!(events, entries, "dropped what is older than is to be kept");
    }
    Ok(())
}

/// Trims histories that have grown a tenth too long: to drop revisions one by one would read what
/// is left of the older ones each time.
async fn drop_revisions(stores: &Stores, keep: u64) -> Result<()> {
    let Some(keep) = NonZeroU64::new(keep) else { return Ok(()) };
    let most = keep.get().saturating_add(keep.get() / 10).min(i64::MAX as u64);
    loop {
        let long = stores.gateway.long_histories(most).await?;
        let mut all = 0;
        for workspace in long {
            let mut revisions = 0;
            loop {
                match stores.gateway.drop_revisions(workspace, keep).await? {
                    0 => break,
                    dropped => revisions += dropped,
                }
            }
            tracing::debug!(workspace_id = %workspace, revisions, "dropped the oldest");
            all += revisions;
        }
        // What is left is short enough, or agents are on an old revision.
        if all == 0 {
            return Ok(());
        }
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::{
        ManualClock, Mesh, PageRequest,
        conformance::given,
        events::EventId,
        gateway::{AgentStatus, GatewayWrite},
        store::memory::MemoryStore,
    };

    #[tokio::test(start_paused = true)]
    async fn agents_whose_server_died_are_told_of_without_anybody_asking() {
        let stores = Stores::from(MemoryStore::new());
        let of = given::stored_workspace(&stores).await.0.id;
        let agent = given::agent(of, "a", 0);
        let put = vec![GatewayWrite::PutAgent(Arc::new(agent.clone()))];
        stores.gateway.commit(given::change(of, 0, put)).await.unwrap();
        let last_seen_at = Some(given::at(0));
        let status = AgentStatus { connected: true, last_seen_at, ..AgentStatus::default() };
        stores.gateway.open_agent_session(agent.id, given::id(), &status, vec![]).await.unwrap();
        let clock = ManualClock::new(given::at(30));
        let mesh = Mesh::builder().store(stores.clone()).clock(clock.clone());
        let mesh = mesh.heartbeat_interval(Duration::from_secs(10)).build().await.unwrap();
        for (later, told) in [(0, 0), (1, 1), (3600, 1)] {
            clock.advance(TimeDelta::seconds(later));
            tokio::time::sleep(Duration::from_secs(60)).await;
            let events = stores.events.events_after(EventId(0), 10).await.unwrap();
            assert_eq!(events.len(), told, "after {later} s more");
        }
        mesh.shutdown().await;
    }

    #[tokio::test(start_paused = true)]
    async fn histories_are_trimmed_once_they_are_a_tenth_too_long() {
        let stores = Stores::from(MemoryStore::new());
        let of = given::stored_workspace(&stores).await.0.id;
        let retention = Retention { revisions: 20, ..Retention::default() };
        let mesh = Mesh::builder().store(stores.clone()).retention(retention);
        let mesh = mesh.build().await.unwrap();
        let mut head = 0;
        for (made, left) in [(22, 22), (1, 20), (2, 22), (1, 20), (500, 20)] {
            for _ in 0..made {
                stores.gateway.commit(given::change(of, head, Vec::new())).await.unwrap();
                head += 1;
            }
            tokio::time::sleep(PAUSE * 2).await;
            let page = stores.gateway.revisions(of, PageRequest::default()).await.unwrap();
            assert_eq!(page.meta.total, left, "at {head}");
        }
        mesh.shutdown().await;
    }
}
