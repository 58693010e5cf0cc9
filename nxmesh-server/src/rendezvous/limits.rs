//! How many requests are answered, by address and by peer.

use std::{
    hash::Hash,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::extract::{ConnectInfo, Request};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};
use http::HeaderMap;

use super::{RendezvousHttpSettings, refusal::Refusal};
use crate::http::limits::network;

/// How many calls pass between two times of forgetting who has not asked for a while.
const FORGET_EVERY: usize = 4096;
/// How many seconds' worth may come at once.
const BURST: u32 = 10;

/// What is left for everybody.
#[derive(Debug, Clone)]
pub(super) struct Limits(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    addresses: Option<Bucket<Option<IpAddr>>>,
    peers: Option<Bucket<String>>,
    rpc: Option<Bucket<IpAddr>>,
    trusted: Vec<IpAddr>,
}

#[derive(Debug)]
struct Bucket<K: Hash + Eq + Clone> {
    per_second: NonZeroU32,
    limiter: RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock>,
    calls: AtomicUsize,
}

/// That somebody asks too often.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooOften {
    /// How often they may.
    pub(super) per_second: u32,
    /// In how many seconds they may again.
    pub(super) seconds: u64,
}

impl From<TooOften> for Refusal {
    fn from(too_often: TooOften) -> Self {
        Self::too_many(too_often.seconds)
    }
}

impl<K: Hash + Eq + Clone> Bucket<K> {
    fn new(per_second: NonZeroU32, burst_seconds: u32) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(burst_seconds - 1));
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self { per_second, limiter: RateLimiter::keyed(quota), calls: AtomicUsize::new(0) }
    }

    fn spend(&self, key: &K) -> Result<(), TooOften> {
        if self.calls.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|late| {
            let wait = late.wait_time_from(DefaultClock::default().now());
            let seconds = (wait.as_secs_f64().ceil() as u64).max(1);
            TooOften { per_second: self.per_second.get(), seconds }
        })
    }
}

impl Limits {
    pub(super) fn new(settings: &RendezvousHttpSettings) -> Self {
        Self(Arc::new(Buckets {
            addresses: settings.requests_per_second.map(|it| Bucket::new(it, BURST)),
            peers: settings.peer_requests_per_second.map(|it| Bucket::new(it, BURST)),
            rpc: settings.rpc_requests_per_second.map(|it| Bucket::new(it, 1)),
            trusted: settings.trusted_proxies.clone(),
        }))
    }

    /// Spends one request of the address that a request comes from.
    pub(super) fn spend_of_address(&self, request: &Request) -> Result<(), Refusal> {
        let Some(addresses) = &self.0.addresses else { return Ok(()) };
        Ok(addresses.spend(&self.address(request))?)
    }

    /// Spends one request of the protocol `rpc`, of the address that it comes from. Where that is not known
    /// there is no limit.
    pub(super) fn spend_of_rpc(&self, request: &Request) -> Result<(), TooOften> {
        let (Some(rpc), Some(address)) = (&self.0.rpc, self.address(request)) else {
            return Ok(());
        };
        rpc.spend(&address)
    }

    /// Spends one request of a peer.
    pub(super) fn spend_of_peer(&self, peer: &str) -> Result<(), Refusal> {
        self.0.peers.as_ref().map_or(Ok(()), |peers| Ok(peers.spend(&peer.to_owned())?))
    }

    /// Whose request it is: the address of the connection, or what a trusted proxy says.
    fn address(&self, request: &Request) -> Option<IpAddr> {
        let connected = request.extensions().get::<ConnectInfo<SocketAddr>>()?.0.ip();
        let trusted = self.0.trusted.contains(&connected.to_canonical());
        let forwarded = if trusted { self.forwarded(request.headers()) } else { None };
        Some(network(forwarded.unwrap_or(connected)))
    }

    /// The last address of `X-Forwarded-For` that no trusted proxy has: those before it may be made up, and so may
    /// those before what is no address.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values = headers.get_all("x-forwarded-for").into_iter();
        let hops = values.flat_map(|it| it.to_str().unwrap_or("?").split(','));
        let hops: Vec<_> = hops.map(str::trim).filter(|it| !it.is_empty()).collect();
        let mut known = hops.into_iter().rev().map_while(hop);
        known.find(|it| !self.0.trusted.contains(&it.to_canonical()))
    }
}

/// An address as proxies write it: some with the port, some with brackets around one that has colons.
fn hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|it: SocketAddr| it.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_port_and_brackets() {
        for (text, address) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.1:", None),
            ("[2001:db8::1", None),
            ("?", None),
        ] {
            assert_eq!(hop(text), address.map(|it| it.parse().unwrap()), "{text}");
        }
    }
}
