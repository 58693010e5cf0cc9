//! What agents report, and what follows from it.

pub(super) mod agent_events;
mod quarantined;
pub(super) mod status;
mod virtual_host_status;

pub use self::{
    quarantined::{MAX_QUARANTINED, Quarantined},
    virtual_host_status::{VirtualHostState, VirtualHostStatus},
};
