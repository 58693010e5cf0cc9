use std::sync::Arc;

use crate::{
    IdempotencyStore, LeaseStore, events::EventStore, gateway::GatewayStore, tenancy::TenancyStore,
};

/// Where each area keeps what it knows: all of them in one database.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stores {
    /// For organizations, workspaces and users.
    pub tenancy: Arc<dyn TenancyStore>,
    /// For agents and what they serve.
    pub gateway: Arc<dyn GatewayStore>,
    /// For what happened.
    pub events: Arc<dyn EventStore>,
    /// For work that one server does at a time.
    pub leases: Arc<dyn LeaseStore>,
    /// For requests that may be sent again.
    pub idempotency: Arc<dyn IdempotencyStore>,
}

impl<S: TenancyStore + GatewayStore + EventStore + LeaseStore + IdempotencyStore> From<Arc<S>>
    for Stores
{
    fn from(store: Arc<S>) -> Self {
        Self {
            tenancy: Arc::clone(&store) as Arc<dyn TenancyStore>,
            gateway: Arc::clone(&store) as Arc<dyn GatewayStore>,
            events: Arc::clone(&store) as Arc<dyn EventStore>,
            leases: Arc::clone(&store) as Arc<dyn LeaseStore>,
            idempotency: store,
        }
    }
}

impl<S: TenancyStore + GatewayStore + EventStore + LeaseStore + IdempotencyStore> From<S>
    for Stores
{
    fn from(store: S) -> Self {
        Self::from(Arc::new(store))
    }
}
