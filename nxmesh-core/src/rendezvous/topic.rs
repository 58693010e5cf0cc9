use super::{Millis, Offer, PeerFilter, Realm};

/// Which offers of which topics.
#[derive(Debug, Clone)]
pub struct OfferQuery {
    /// Where.
    pub realm: Realm,
    /// Those of any of these topics, each offer once.
    pub topics: Vec<String>,
    /// Not those of this peer.
    pub not_of: Option<String>,
    /// Not those of peers in this set.
    pub excluded: Option<PeerFilter>,
    /// How many to leave out at the beginning.
    pub offset: u32,
    /// How many at most.
    pub limit: u32,
    /// What the caller's clock shows.
    pub now: Millis,
}

/// Some offers of topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfferPage {
    /// Open ones only, the one last seen first; of those last seen together the newest first.
    pub offers: Vec<Offer>,
    /// How many open ones the first of the topics has, whoever is left out.
    pub total: u64,
}

/// Which topics.
#[derive(Debug, Clone)]
pub struct TopicQuery {
    /// Where.
    pub realm: Realm,
    /// Those that begin so, ASCII letters in either case.
    pub prefix: String,
    /// In which order.
    pub order: TopicOrder,
    /// How many to leave out at the beginning.
    pub offset: u64,
    /// How many at most.
    pub limit: u32,
    /// What the caller's clock shows.
    pub now: Millis,
}

/// In which order topics are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicOrder {
    /// The one with the most peers first, then by name.
    MostPeers,
    /// By the bytes of the name.
    Name,
}

/// Some topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPage {
    /// Those that have open offers.
    pub topics: Vec<TopicCount>,
    /// How many there are on all pages.
    pub total: u64,
}

/// How much there is in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCount {
    /// Its name.
    pub topic: String,
    /// How many open offers.
    pub offers: u64,
    /// By how many peers.
    pub peers: u64,
}
