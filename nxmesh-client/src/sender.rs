//! How calls are sent: again, where that is harmless.

use std::{fmt, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::{Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;

use crate::{ApiError, Error, Result, request::Call};

/// How often a call that may be sent twice is tried in all.
const TRIES: usize = 4;
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Reads what a server says that did not do what was asked.
pub(crate) type Refusal = fn(StatusCode, &[u8]) -> Error;

/// Sends calls to one server.
pub(crate) struct Sender {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) refusal: Refusal,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Sender {
    /// Sends a call with this token, and again where that is harmless.
    pub(crate) async fn send(
        &self,
        call: &Call,
        token: Option<&str>,
    ) -> Result<(StatusCode, bytes::Bytes)> {
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_jitter()
            .with_max_times(TRIES - 1)
            .build();
        loop {
            let failure = match self.send_once(call, token).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(wait) = waits.next().filter(|_| may_repeat(call, &failure)) else {
                return Err(failure.error);
            };
            tokio::time::sleep(failure.wait.unwrap_or(wait).min(LONGEST_WAIT)).await;
        }
    }

    async fn send_once(
        &self,
        call: &Call,
        token: Option<&str>,
    ) -> Result<(StatusCode, bytes::Bytes), Failure> {
        let failed = |error| Failure::of(Error::Transport(error));
        let request = self.request(call, token).map_err(Failure::of)?;
        let response = request.send().await.map_err(failed)?;
        let (status, wait) = (response.status(), retry_after(&response));
        let replayed = response.headers().contains_key("idempotency-replayed");
        let body = response.bytes().await.map_err(failed)?;
        if status.is_success() {
            return Ok((status, body));
        }
        Err(Failure { error: (self.refusal)(status, &body), wait, replayed })
    }

    /// Sends a call once, and answers when the answer begins: it may have no end.
    #[cfg(feature = "rendezvous")]
    pub(crate) async fn stream(
        &self,
        call: &Call,
        token: Option<&str>,
        patience: Duration,
    ) -> Result<Response> {
        let request = self.request(call, token)?.header(header::ACCEPT, "text/event-stream");
        let answered = async {
            let response = request.send().await.map_err(Error::Transport)?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            Err((self.refusal)(status, &response.bytes().await.map_err(Error::Transport)?))
        };
        tokio::time::timeout(patience, answered).await.unwrap_or_else(|_| Err(silent()))
    }

    fn request(&self, call: &Call, token: Option<&str>) -> Result<reqwest::RequestBuilder> {
        let url = self.base.join(&call.path).map_err(|_| Error::Address(call.path.clone()))?;
        let mut request = self.http.request(call.method.clone(), url).query(&call.query);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(tag) = &call.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        Ok(request)
    }
}

/// The object that was answered.
pub(crate) fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|source| Error::Answer { status: status.as_u16(), source: Some(source) })
}

/// The address of a server, and of what is below it there.
pub(crate) fn base(server: &str, below: &str) -> Result<Url> {
    let bad = || Error::Address(server.to_owned());
    let mut base = Url::parse(server).map_err(|_| bad())?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(bad());
    }
    base.set_path(&format!("{}/{below}", base.path().trim_end_matches('/')));
    Ok(base)
}

/// What makes connections, with these certificates in PEM instead of those that the machine trusts.
pub(crate) fn http(roots: Option<&[u8]>) -> Result<reqwest::ClientBuilder> {
    // Another part of the program may have chosen already: any choice will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder();
    let Some(pem) = roots else { return Ok(http) };
    let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(Error::Build)?;
    Ok(http.tls_certs_only(roots))
}

/// A try that failed.
struct Failure {
    error: Error,
    /// How long the server asks to wait.
    wait: Option<Duration>,
    /// Whether it is what an earlier try was answered: another one will be, too.
    replayed: bool,
}

impl Failure {
    const fn of(error: Error) -> Self {
        Self { error, wait: None, replayed: false }
    }

    /// An earlier try of the same call is not through: its answer comes.
    fn is_under_way(&self, error: &ApiError) -> bool {
        let named = error.details.iter().any(|it| it.field == "Idempotency-Key");
        error.status == 409 && self.wait.is_some() && named
    }
}

/// Nothing was done, or it is not done twice.
fn may_repeat(call: &Call, failure: &Failure) -> bool {
    let after = |status| match status {
        429 => true,
        503 => call.repeatable && !failure.replayed,
        _ => false,
    };
    match &failure.error {
        Error::Transport(error) => call.repeatable || error.is_connect(),
        Error::Api(error) => after(error.status) || failure.is_under_way(error),
        Error::Rendezvous(error) => after(error.status),
        Error::Socket(_)
        | Error::Answer { .. }
        | Error::NoRendezvous(_)
        | Error::Address(_)
        | Error::Build(_) => false,
    }
}

/// What connects, and then says nothing.
pub(crate) fn silent() -> Error {
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer");
    Error::Socket(Box::new(error))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let header = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    header.parse().ok().map(Duration::from_secs)
}
