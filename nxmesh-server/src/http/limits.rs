//! How many requests are answered, by whoever asks.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use nxmesh_core::Actor;

use prometheus_client::metrics::counter::Counter;

use super::{ApiError, HttpSettings, metrics::Refused};

/// How many calls pass between two times of forgetting who has not asked for a minute.
const FORGET_EVERY: usize = 4096;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asker {
    Address(Option<IpAddr>),
    User(String),
    Program(String),
}

type Limiter =
    RateLimiter<Asker, DefaultKeyedStateStore<Asker>, DefaultClock, StateInformationMiddleware>;

/// What is left, for everybody.
#[derive(Debug, Clone)]
pub(super) struct Limits(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    requests: Option<Limiter>,
    logins: Option<Limiter>,
    calls: AtomicUsize,
    refused: Refused,
}

/// What one request may still spend.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    limits: Limits,
    address: Option<IpAddr>,
    verdict: Arc<Mutex<Option<Verdict>>>,
}

#[derive(Debug, Clone, Copy)]
struct Verdict {
    limit: u32,
    remaining: u32,
    reset: u64,
    retry_after: Option<u64>,
}

impl Limits {
    /// `None` where all are answered.
    pub(super) fn new(settings: &HttpSettings, refused: Refused) -> Option<Self> {
        settings.requests_per_minute.or(settings.logins_per_minute)?;
        let limiter = |per_minute: NonZeroU32| {
            RateLimiter::keyed(Quota::per_minute(per_minute))
                .with_middleware::<StateInformationMiddleware>()
        };
        Some(Self(Arc::new(Buckets {
            requests: settings.requests_per_minute.map(limiter),
            logins: settings.logins_per_minute.map(limiter),
            calls: AtomicUsize::new(0),
            refused,
        })))
    }
}

impl Budget {
    /// Spends one request of whoever is logged in.
    pub(super) fn spend_of(&self, actor: &Actor) -> Result<(), ApiError> {
        let asker = match actor.api_key() {
            Some(id) => Asker::Program(id.to_string()),
            None => Asker::User(actor.user_id().to_string()),
        };
        self.spend_request(&asker)
    }

    /// Spends one request of the address.
    pub(super) fn spend_of_address(&self) -> Result<(), ApiError> {
        self.spend_request(&Asker::Address(self.address))
    }

    fn spend_login(&self) -> Result<(), ApiError> {
        let Buckets { logins, refused, .. } = self.limits.0.as_ref();
        self.spend(logins.as_ref(), &refused.logins, &Asker::Address(self.address))
    }

    fn spend_request(&self, asker: &Asker) -> Result<(), ApiError> {
        let Buckets { requests, refused, .. } = self.limits.0.as_ref();
        self.spend(requests.as_ref(), &refused.requests, asker)
    }

    fn spend(
        &self,
        limiter: Option<&Limiter>,
        refused: &Counter,
        asker: &Asker,
    ) -> Result<(), ApiError> {
        let Some(limiter) = limiter else { return Ok(()) };
        if self.limits.0.calls.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
        }
        let verdict = match limiter.check_key(asker) {
            Ok(left) => {
                let (quota, remaining) = (left.quota(), left.remaining_burst_capacity());
                let spent = quota.burst_size().get() - remaining;
                let reset = quota.replenish_interval() * spent;
                let reset = reset.as_secs_f64().ceil() as u64;
                let limit = quota.burst_size().get();
                Verdict { limit, remaining, reset, retry_after: None }
            }
            Err(late) => {
                let wait = late.wait_time_from(DefaultClock::default().now());
                let seconds = (wait.as_secs_f64().ceil() as u64).max(1);
                let limit = late.quota().burst_size().get();
                Verdict { limit, remaining: 0, reset: 60, retry_after: Some(seconds) }
            }
        };
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        match verdict.retry_after {
            None => Ok(()),
            Some(seconds) => {
                refused.inc();
                Err(ApiError::too_many(seconds))
            }
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        let verdict = *self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Verdict { limit, remaining, reset, retry_after }) = verdict else { return };
        for (name, value) in [
            ("x-ratelimit-limit", u64::from(limit)),
            ("x-ratelimit-remaining", u64::from(remaining)),
            ("x-ratelimit-reset", reset),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

/// Counts requests that come without a login; the others are counted once it is known
/// whose they are.
pub(super) async fn layer(
    State(limits): State<Limits>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|it| it.0);
    let budget =
        Budget { limits, address: address.map(|it| network(it.ip())), verdict: Arc::default() };
    request.extensions_mut().insert(budget.clone());
    let counted = request.headers().contains_key(header::AUTHORIZATION);
    let allowed = if counted { Ok(()) } else { budget.spend_of_address() };
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    budget.write(response.headers_mut());
    response
}

/// Whoever has an IPv6 address has 2^64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// A login, if the address has not tried too often.
pub(crate) struct LoginAllowed;

impl<S: Send + Sync> FromRequestParts<S> for LoginAllowed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Budget>().map_or(Ok(()), Budget::spend_login).map(|()| Self)
    }
}
