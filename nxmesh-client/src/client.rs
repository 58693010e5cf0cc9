use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use nxmesh_core::{Secret, events::EventId};
use reqwest::{Response, StatusCode, Url, header};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio_tungstenite::Connector;

use crate::{
    Agents, ApiError, ApiKeys, AuditLog, Auth, Changes, Error, Events, Members, Organizations,
    Result, Revisions, Rollouts, Upstreams, VirtualHosts, Workspaces, request::Call,
    socket::Socket, tenancy::Tokens,
};

/// How often a call that may be sent twice is tried in all.
const TRIES: usize = 4;
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A connection to one control plane, cheap to clone: clones are logged in together.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    /// How the WebSocket speaks TLS, if not by what the machine trusts.
    tls: Option<Connector>,
    timeout: Duration,
    tokens: RwLock<Option<Tokens>>,
    refreshing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Puts a [`Client`] together.
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    server: String,
    timeout: Duration,
    access_token: Option<Secret<String>>,
    roots: Option<Vec<u8>>,
}

impl ClientBuilder {
    /// Certificates in PEM to trust the server by, instead of those that the machine trusts.
    pub fn roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// How long one request may take; 30 s, if not set.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// An API key to send, instead of logging in.
    pub fn api_key(self, key: impl Into<String>) -> Self {
        self.access_token(key)
    }

    /// A token to send, instead of logging in.
    pub fn access_token(mut self, token: impl Into<String>) -> Self {
        self.access_token = Some(Secret::new(token.into()));
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`Error::Address`] when the server's address is none.
    pub fn build(self) -> Result<Client> {
        let bad = || Error::Address(self.server.clone());
        let mut base = Url::parse(&self.server).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad());
        }
        base.set_path(&format!("{}/v1/", base.path().trim_end_matches('/')));
        // Another part of the program may have chosen already: any choice will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder().timeout(self.timeout);
        let mut tls = None;
        if let Some(pem) = &self.roots {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(Error::Build)?;
            http = http.tls_certs_only(roots);
            tls = Some(connector(pem));
        }
        let http = http.build().map_err(Error::Build)?;
        let tokens = self.access_token.map(|access| Tokens { access, refresh: None });
        let shared = Shared {
            http,
            base,
            tls,
            timeout: self.timeout,
            tokens: RwLock::new(tokens),
            refreshing: tokio::sync::Mutex::default(),
        };
        Ok(Client { shared: Arc::new(shared) })
    }
}

impl Client {
    /// A client of the server at this address: `http://127.0.0.1:8080`, or where the
    /// routes are nested, `https://example.com/mesh`.
    ///
    /// # Errors
    /// [`Error::Address`] when it is none.
    pub fn new(server: impl Into<String>) -> Result<Self> {
        Self::builder(server).build()
    }

    /// Starts putting one together.
    pub fn builder(server: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            server: server.into(),
            timeout: Duration::from_secs(30),
            access_token: None,
            roots: None,
        }
    }

    /// Logging in.
    #[must_use]
    pub fn auth(&self) -> Auth {
        Auth::new(self.clone())
    }

    /// What happens, as it happens.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.clone())
    }

    /// Who did what.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.clone())
    }

    /// Several changes as one.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.clone())
    }

    /// What a workspace was.
    #[must_use]
    pub fn revisions(&self) -> Revisions {
        Revisions::new(self.clone())
    }

    /// Revisions on their way to agents.
    #[must_use]
    pub fn rollouts(&self) -> Rollouts {
        Rollouts::new(self.clone())
    }

    /// What programs log in with.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.clone())
    }

    /// Who belongs to organizations.
    #[must_use]
    pub fn members(&self) -> Members {
        Members::new(self.clone())
    }

    /// The organizations.
    #[must_use]
    pub fn organizations(&self) -> Organizations {
        Organizations::new(self.clone())
    }

    /// The workspaces.
    #[must_use]
    pub fn workspaces(&self) -> Workspaces {
        Workspaces::new(self.clone())
    }

    /// The hosts beside nginx.
    #[must_use]
    pub fn agents(&self) -> Agents {
        Agents::new(self.clone())
    }

    /// What is served.
    #[must_use]
    pub fn virtual_hosts(&self) -> VirtualHosts {
        VirtualHosts::new(self.clone())
    }

    /// What stands behind it.
    #[must_use]
    pub fn upstreams(&self) -> Upstreams {
        Upstreams::new(self.clone())
    }

    pub(crate) fn keep(&self, tokens: Tokens) {
        *self.shared.tokens.write().unwrap_or_else(PoisonError::into_inner) = Some(tokens);
    }

    pub(crate) fn forget(&self) {
        *self.shared.tokens.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn tokens(&self) -> Option<Tokens> {
        self.shared.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a call, and reads the object that is answered. An access token that has
    /// expired is renewed, once.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let (status, body) = self.send(call).await?;
        serde_json::from_slice(&body)
            .map_err(|source| Error::Answer { status: status.as_u16(), source: Some(source) })
    }

    /// Sends a call that answers nothing.
    pub(crate) async fn send_only(&self, call: Call) -> Result<()> {
        self.send(call).await.map(|_| ())
    }

    async fn send(&self, call: Call) -> Result<(StatusCode, bytes::Bytes)> {
        let before = self.tokens();
        match self.send_with_retry(&call, before.as_ref()).await {
            Err(Error::Api(error))
                if error.status == 401
                    && before.as_ref().is_some_and(|it| it.refresh.is_some()) =>
            {
                self.renew(before.as_ref()).await?;
                self.send_with_retry(&call, self.tokens().as_ref()).await
            }
            done => done,
        }
    }

    /// Connects to the events after `since`, or from now on.
    pub(crate) async fn open_socket(&self, since: Option<EventId>) -> Result<Socket> {
        let before = self.tokens();
        match self.open_socket_with(since, before.as_ref()).await {
            Err(Error::Api(error))
                if error.status == 401
                    && before.as_ref().is_some_and(|it| it.refresh.is_some()) =>
            {
                self.renew(before.as_ref()).await?;
                self.open_socket_with(since, self.tokens().as_ref()).await
            }
            done => done,
        }
    }

    async fn open_socket_with(
        &self,
        since: Option<EventId>,
        tokens: Option<&Tokens>,
    ) -> Result<Socket> {
        let Shared { base, tls, timeout, .. } = self.shared.as_ref();
        let bad = || Error::Address(base.to_string());
        let mut url = base.join("events").map_err(|_| bad())?;
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| bad())?;
        if let Some(since) = since {
            url.query_pairs_mut().append_pair("since", &since.to_string());
        }
        let token = tokens.map(|it| it.access.expose().as_str());
        Socket::open(url, token, tls.clone(), *timeout).await
    }

    /// Renews the tokens, unless somebody else just did: a refresh token works once.
    async fn renew(&self, before: Option<&Tokens>) -> Result<()> {
        let _turn = self.shared.refreshing.lock().await;
        let now = self.tokens();
        let access = |it: Option<&Tokens>| it.map(|it| it.access.expose().clone());
        if access(now.as_ref()) != access(before) {
            return Ok(());
        }
        self.auth().refresh().await
    }

    pub(crate) async fn send_with_retry(
        &self,
        call: &Call,
        tokens: Option<&Tokens>,
    ) -> Result<(StatusCode, bytes::Bytes)> {
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_jitter()
            .with_max_times(TRIES - 1)
            .build();
        loop {
            let failure = match self.send_once(call, tokens).await {
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
        tokens: Option<&Tokens>,
    ) -> Result<(StatusCode, bytes::Bytes), Failure> {
        let url = self
            .shared
            .base
            .join(&call.path)
            .map_err(|_| Failure::of(Error::Address(call.path.clone())))?;
        let mut request = self.shared.http.request(call.method.clone(), url).query(&call.query);
        if let Some(tokens) = tokens {
            request = request.bearer_auth(tokens.access.expose());
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
        let failed = |error| Failure::of(Error::Transport(error));
        let response = request.send().await.map_err(failed)?;
        let (status, wait) = (response.status(), retry_after(&response));
        let replayed = response.headers().contains_key("idempotency-replayed");
        let body = response.bytes().await.map_err(failed)?;
        if status.is_success() {
            return Ok((status, body));
        }
        Err(Failure { error: refusal(status, &body), wait, replayed })
    }
}

/// Speaks TLS to servers that these certificates vouch for.
fn connector(pem: &[u8]) -> Connector {
    let mut roots = RootCertStore::empty();
    // Whatever is no certificate was refused before.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Connector::Rustls(Arc::new(config))
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
    match &failure.error {
        Error::Transport(error) => call.is_repeatable() || error.is_connect(),
        Error::Api(error) => match error.status {
            429 => true,
            503 => call.is_repeatable() && !failure.replayed,
            _ => failure.is_under_way(error),
        },
        Error::Socket(_) | Error::Answer { .. } | Error::Address(_) | Error::Build(_) => false,
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let header = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    header.parse().ok().map(Duration::from_secs)
}

pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Envelope {
        error: ApiError,
    }
    let status = status.as_u16();
    match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { error }) => Error::Api(ApiError { status, ..error }),
        Err(source) => Error::Answer { status, source: Some(source) },
    }
}
