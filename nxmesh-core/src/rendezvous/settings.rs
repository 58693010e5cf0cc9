use std::time::Duration;

use super::Millis;

/// What the area allows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RendezvousSettings {
    /// For how long an offer lives whose peer does not say; 300 s, if not set otherwise.
    pub default_ttl: Millis,
    /// No offer lives shorter; 60 s, if not set otherwise.
    pub min_ttl: Millis,
    /// No offer lives longer; a day, if not set otherwise.
    pub max_ttl: Millis,
    /// For how long a session of the protocol `origin` lives; 300 s, if not set otherwise.
    pub session_ttl: Millis,
    /// How long an offer of the protocol `rpc` lives once it is answered; 30 s, if not set otherwise.
    pub answered_ttl: Millis,
    /// How many offers one request may make; 100, if not set otherwise.
    pub max_offers_per_request: usize,
    /// Under how many topics an offer may be found; 50, if not set otherwise.
    pub max_topics_per_offer: usize,
    /// How many live offers one peer may have; 1,000, if not set otherwise.
    pub max_offers_per_peer: u32,
    /// How many offers there may be in all; 100,000, if not set otherwise.
    pub max_offers: u64,
    /// How many may listen at one server; 100,000, if not set otherwise.
    pub max_listeners: usize,
    /// How often what has expired is swept; once a second, if not set otherwise.
    pub sweep_interval: Duration,
}

/// How long a session description may be, in UTF-16 code units.
pub const MAX_SDP: usize = 65_536;
/// How long the secret of an offer may be, in UTF-16 code units.
pub const MAX_SECRET: usize = 128;
/// How long the info of an offer may be, in UTF-16 code units.
pub const MAX_INFO: usize = 128;
/// How long a topic may be, in UTF-16 code units.
pub const MAX_TOPIC: usize = 256;
/// How long an id may be that a peer gives its offer, in UTF-16 code units.
pub const MAX_OFFER_ID: usize = 128;
/// How large a candidate may be, in bytes of JSON.
pub const MAX_CANDIDATE: usize = 4_096;
/// How many arrays and objects may be inside each other in a candidate. Whoever reads it has it inside of some more,
/// and common parsers stop at 128.
pub const MAX_CANDIDATE_LEVELS: usize = 100;
/// How many candidates one request may add.
pub const MAX_CANDIDATES_PER_REQUEST: usize = 100;
/// How many candidates one side of an offer may add.
pub const MAX_CANDIDATES_PER_SIDE: u32 = 1_000;
/// How large a list of sessions is at most, in bytes of session descriptions and candidates.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;
/// How many wrong secrets lock an offer, and for how long.
pub const MAX_WRONG_SECRETS: u32 = 10;
/// See [`MAX_WRONG_SECRETS`].
pub const SECRET_LOCK: Millis = 60_000;

impl Default for RendezvousSettings {
    fn default() -> Self {
        Self {
            default_ttl: 300_000,
            min_ttl: 60_000,
            max_ttl: 86_400_000,
            session_ttl: 300_000,
            answered_ttl: 30_000,
            max_offers_per_request: 100,
            max_topics_per_offer: 50,
            max_offers_per_peer: 1_000,
            max_offers: 100_000,
            max_listeners: 100_000,
            sweep_interval: Duration::from_secs(1),
        }
    }
}

impl RendezvousSettings {
    /// A time to live that is allowed: the default for none or 0, else what was asked for within the
    /// bounds. A peer is answered what came of it.
    #[must_use]
    pub fn ttl(&self, asked: Option<Millis>) -> Millis {
        match asked {
            None | Some(0) => self.default_ttl,
            Some(asked) => asked.max(self.min_ttl).min(self.max_ttl),
        }
    }
}
