use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use nxmesh_core::{Secret, events::EventId};
use reqwest::StatusCode;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::de::DeserializeOwned;
use tokio_tungstenite::Connector;

use crate::{
    Agents, ApiKeys, AuditLog, Auth, Changes, Error, Events, Members, Organizations, Result,
    Revisions, Rollouts, Upstreams, VirtualHosts, Workspaces,
    error::refusal,
    request::Call,
    sender::{self, Sender},
    socket::Socket,
    tenancy::Tokens,
};

/// A connection to one control plane, cheap to clone: clones are logged in together.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    sender: Sender,
    /// How the WebSocket speaks TLS, if not by what the machine trusts.
    tls: Option<Connector>,
    timeout: Duration,
    tokens: RwLock<Option<Tokens>>,
    refreshing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("sender", &self.sender).finish_non_exhaustive()
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
        let base = sender::base(&self.server, "v1/")?;
        let http = sender::http(self.roots.as_deref())?.timeout(self.timeout);
        let http = http.build().map_err(Error::Build)?;
        let sender = Sender { http, base, refusal };
        let tls = self.roots.as_deref().map(connector);
        let tokens = self.access_token.map(|access| Tokens { access, refresh: None });
        let shared = Shared {
            sender,
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
        sender::read(status, &body)
    }

    /// Sends a call that answers nothing.
    pub(crate) async fn send_only(&self, call: Call) -> Result<()> {
        self.send(call).await.map(|_| ())
    }

    async fn send(&self, call: Call) -> Result<(StatusCode, bytes::Bytes)> {
        let before = self.tokens();
        match self.send_as(&call, before.as_ref()).await {
            Err(Error::Api(error))
                if error.status == 401
                    && before.as_ref().is_some_and(|it| it.refresh.is_some()) =>
            {
                self.renew(before.as_ref()).await?;
                self.send_as(&call, self.tokens().as_ref()).await
            }
            done => done,
        }
    }

    /// Sends a call as whoever has these tokens.
    pub(crate) async fn send_as(
        &self,
        call: &Call,
        tokens: Option<&Tokens>,
    ) -> Result<(StatusCode, bytes::Bytes)> {
        let token = tokens.map(|it| it.access.expose().as_str());
        self.shared.sender.send(call, token).await
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
        let Shared { sender: Sender { base, .. }, tls, timeout, .. } = self.shared.as_ref();
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
