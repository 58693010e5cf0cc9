use std::sync::Arc;

use crate::{gateway::GatewayStore, tenancy::TenancyStore};

/// Where each area keeps what it knows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stores {
    /// For organizations, workspaces and users.
    pub tenancy: Arc<dyn TenancyStore>,
    /// For agents and what they serve: the same database as the tenancy area's.
    pub gateway: Arc<dyn GatewayStore>,
}

impl<S: TenancyStore + GatewayStore> From<Arc<S>> for Stores {
    fn from(store: Arc<S>) -> Self {
        Self { tenancy: Arc::clone(&store) as Arc<dyn TenancyStore>, gateway: store }
    }
}

impl<S: TenancyStore + GatewayStore> From<S> for Stores {
    fn from(store: S) -> Self {
        Self::from(Arc::new(store))
    }
}
