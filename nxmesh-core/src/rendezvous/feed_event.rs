use std::sync::Arc;

use super::{Delivery, Offer};

/// Something that a listener is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// Something reached the peer. None is missed, and none told twice.
    Delivery(Delivery),
    /// An offer of the peer expired.
    Expired {
        /// Its name.
        offer: String,
    },
    /// There is a new offer in a topic that is followed.
    Published {
        /// Which topic.
        topic: String,
        /// The offer.
        offer: Arc<Offer>,
    },
    /// Some of what is not a delivery was missed, because it came too fast or news were lost: list the topics, and
    /// the peer's own offers, again.
    Missed,
}

impl FeedEvent {
    /// How large it is, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Delivery(delivery) => delivery.bytes(),
            Self::Published { topic: _, offer } => offer.sdp.len(),
            Self::Expired { .. } | Self::Missed => 0,
        }
    }
}
