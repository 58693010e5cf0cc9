//! Dropping what has expired, and what is older than is to be kept, on one server at a time.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use crate::{Clock, Result, Retention, Tasks, lease::Leases, store::Stores};

/// How often.
const PAUSE: Duration = Duration::from_secs(60);
/// How long what has expired is kept, so that whoever comes with it is told that it has.
const KEPT: TimeDelta = TimeDelta::days(1);

/// Starts it; it ends with the tasks.
pub(crate) fn start(stores: Stores, clock: Arc<dyn Clock>, retention: Retention, tasks: &Tasks) {
    let leases = Leases::new(Arc::clone(&stores.leases), clock.as_ref(), tasks.clone());
    tasks.spawn(leases.repeat("housekeeping", PAUSE, move || {
        let (stores, clock) = (stores.clone(), Arc::clone(&clock));
        async move {
            drop_expired(&stores, clock.as_ref()).await?;
            drop_old(&stores, clock.as_ref(), retention).await
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
    let Retention { events, audit_days } = retention;
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
