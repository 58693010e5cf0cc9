use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use http::HeaderValue;
use nxmesh_core::rendezvous::TurnKey;

use super::RendezvousMetrics;

/// How the routes of rendezvous are served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RendezvousHttpSettings {
    /// From which origins scripts in browsers may call; any, if not set otherwise. Nothing is allowed by
    /// a cookie here, so that any may.
    pub allowed_origins: Option<Vec<HeaderValue>>,
    /// Whether the protocol `origin` lets those in who send no `Origin` header: all of them share one
    /// realm then. No, if not set otherwise.
    pub allow_no_origin: bool,
    /// Whether the protocol `origin` puts those who send `X-Rondevu-Global: true` into one realm, that of
    /// `https://ronde.vu`, whatever their origin. No, if not set otherwise.
    pub allow_global: bool,
    /// What `GET /` and `GET /health` answer as the version.
    pub version: String,
    /// How many requests a second an address is answered, in bursts of ten times as many; 2,000, if not set
    /// otherwise. `None` for as many as come.
    pub requests_per_second: Option<NonZeroU32>,
    /// The same for a peer that has shown its credential; 1,000, if not set otherwise.
    pub peer_requests_per_second: Option<NonZeroU32>,
    /// How many requests a second an address may make of the protocol `rpc`; 50, if not set otherwise.
    pub rpc_requests_per_second: Option<NonZeroU32>,
    /// Whose `X-Forwarded-For` is believed: the addresses of proxies in front of this server. None, if
    /// not set.
    pub trusted_proxies: Vec<IpAddr>,
    /// For how long the body of a request may be on its way, and each MiB of a response; 10 s, if not set
    /// otherwise.
    pub body_timeout: Duration,
    /// What peers are told about TURN; nothing, if not set.
    pub turn: Option<TurnSettings>,
    /// Where requests are counted: all routers that are made with a clone of these settings count together.
    pub metrics: RendezvousMetrics,
}

/// A TURN server that takes credentials of the shared-secret scheme: coturn with `use-auth-secret`.
#[derive(Debug, Clone)]
pub struct TurnSettings {
    /// The secret it shares with this server.
    pub key: TurnKey,
    /// Where it is: `turn:turn.example:3478?transport=udp`.
    pub uris: Vec<String>,
    /// For how long credentials are good; it ends no session that has begun.
    pub ttl: Duration,
}

impl Default for RendezvousHttpSettings {
    fn default() -> Self {
        Self {
            allowed_origins: None,
            allow_no_origin: false,
            allow_global: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            requests_per_second: NonZeroU32::new(2_000),
            peer_requests_per_second: NonZeroU32::new(1_000),
            rpc_requests_per_second: NonZeroU32::new(50),
            trusted_proxies: Vec::new(),
            body_timeout: Duration::from_secs(10),
            turn: None,
            metrics: RendezvousMetrics::default(),
        }
    }
}
