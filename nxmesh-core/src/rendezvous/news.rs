use std::sync::Arc;

use super::{Expired, Realm};

/// That something changed, told once it can be read. Says that there is something to read, not what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RendezvousNews {
    /// Something reached a peer: look for its deliveries.
    Delivered {
        /// Where.
        realm: Realm,
        /// Whom.
        to: Arc<str>,
    },
    /// There are new offers.
    Published {
        /// Where.
        realm: Realm,
        /// Their ids, with their topics.
        offers: Arc<[(String, Vec<String>)]>,
    },
    /// Offers were swept because they had expired.
    Expired(Arc<[Expired]>),
    /// Some news were lost: look for everything.
    Missed,
}
