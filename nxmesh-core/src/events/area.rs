use std::sync::Arc;

use crate::{
    Actor, Clock, Error, EventFigures, FieldCode, FieldError, Result, Tasks, Trail,
    events::{EventId, EventStore, Subscription, log::Log},
    tenancy::TenancyStore,
};

/// What happens, as it happens: `mesh.events()`.
#[derive(Debug, Clone)]
pub struct Events {
    log: Log,
    tenancy: Arc<dyn TenancyStore>,
    clock: Arc<dyn Clock>,
}

impl Events {
    pub(crate) async fn open(
        store: Arc<dyn EventStore>,
        tenancy: Arc<dyn TenancyStore>,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Result<Self> {
        let log = Log::open(store, Arc::clone(&clock)).await?;
        tasks.spawn(log.clone().follow(tasks.clone()));
        Ok(Self { log, tenancy, clock })
    }

    /// Begins to watch what the actor may see: what happens from now on, or after `since`, as
    /// far as it is still kept. Nothing comes before something is [wanted](Subscription::want).
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), naming `since`, when no event has that id yet;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when too many watch already.
    pub async fn subscribe(&self, actor: &Actor, since: Option<EventId>) -> Result<Subscription> {
        if let Some(since) = since
            && since > *self.log.newest().borrow()
        {
            let newest = self.log.store.events_kept().await?.newest;
            if since > newest {
                let field = "since".to_owned();
                let message = format!("there is no such event yet; the newest is {newest}");
                let code = FieldCode::OutOfRange;
                return Err(Error::invalid(vec![FieldError { field, message, code }]));
            }
        }
        let tenancy = Arc::clone(&self.tenancy);
        let clock = Arc::clone(&self.clock);
        Subscription::new(self.log.clone(), tenancy, clock, actor.clone(), since)
    }

    pub(crate) fn figures(&self) -> EventFigures {
        self.log.figures()
    }

    /// Records what goes with no change of rows.
    pub(crate) async fn record(&self, trail: Trail) -> Result<()> {
        self.log.store.record(trail).await
    }
}
