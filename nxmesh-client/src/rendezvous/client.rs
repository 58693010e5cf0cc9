use std::{sync::Arc, time::Duration};

use nxmesh_core::{
    Secret,
    rendezvous::{Credential, KeyPair},
};
use reqwest::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{IceCandidates, Offers, Rpc, Topics, rpc};
use crate::{
    ApiError, Error, RendezvousError, Result,
    request::Call,
    sender::{self, Sender},
};

/// A connection to one rendezvous server, cheap to clone. It has nothing to do with a
/// [`Client`](crate::Client) and its login.
///
/// ```no_run
/// # async fn f() -> Result<(), nxmesh_client::Error> {
/// use nxmesh_client::rendezvous::{NewOffer, RendezvousClient};
///
/// let client = RendezvousClient::new("https://example.com/rendezvous")?;
/// let me = client.register().await?;
/// let client = client.with_credential(me);
/// let offer = NewOffer::new("v=0...", ["movie-xyz"]);
/// client.offers().publish(&[offer]).await?;
/// for offer in client.offers().by_topic("movie-xyz", None, None).await?.offers {
///     println!("{} of {}", offer.id, offer.peer_id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RendezvousClient {
    shared: Arc<Shared>,
    credential: Option<Arc<Credential>>,
}

#[derive(Debug)]
struct Shared {
    sender: Sender,
    /// The same without a limit on how long an answer may take, for events.
    endless: Sender,
    /// How long a server may take to begin with those.
    timeout: Duration,
}

/// Puts a [`RendezvousClient`] together.
#[derive(Debug)]
#[must_use]
pub struct RendezvousClientBuilder {
    server: String,
    timeout: Duration,
    roots: Option<Vec<u8>>,
}

impl RendezvousClientBuilder {
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

    /// Makes the client.
    ///
    /// # Errors
    /// [`Error::Address`] when the server's address is none.
    pub fn build(self) -> Result<RendezvousClient> {
        let Self { server, timeout, roots } = self;
        let base = sender::base(&server, "")?;
        let http = sender::http(roots.as_deref())?.timeout(timeout);
        let http = http.build().map_err(Error::Build)?;
        let endless = sender::http(roots.as_deref())?.connect_timeout(timeout);
        let endless = endless.build().map_err(Error::Build)?;
        let refusal = refusal as sender::Refusal;
        let endless = Sender { http: endless, base: base.clone(), refusal };
        let shared = Shared { sender: Sender { http, base, refusal }, endless, timeout };
        Ok(RendezvousClient { shared: Arc::new(shared), credential: None })
    }
}

impl RendezvousClient {
    /// A client of the server at this address, with the path where its routes are:
    /// `https://example.com/rendezvous`, or a bare host where they have a listener of their own.
    ///
    /// # Errors
    /// [`Error::Address`] when it is none.
    pub fn new(server: impl Into<String>) -> Result<Self> {
        Self::builder(server).build()
    }

    /// Starts putting one together.
    pub fn builder(server: impl Into<String>) -> RendezvousClientBuilder {
        RendezvousClientBuilder {
            server: server.into(),
            timeout: Duration::from_secs(30),
            roots: None,
        }
    }

    /// Makes a new peer. What is answered is all that proves who that is: keep it where the peer is
    /// to be the same again.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn register(&self) -> Result<Credential> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            peer_id: String,
            secret: String,
        }
        let call = Call::post_unnamed("register".to_owned()).body(&json!({})).repeatable();
        let Answer { peer_id, secret } = self.fetch(call).await?;
        Ok(Credential { peer_id, secret: Secret::new(secret) })
    }

    /// The same connection, as this peer.
    #[must_use]
    pub fn with_credential(&self, credential: Credential) -> Self {
        Self { shared: Arc::clone(&self.shared), credential: Some(Arc::new(credential)) }
    }

    /// As whom it speaks.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_deref()
    }

    /// What peers offer.
    #[must_use]
    pub fn offers(&self) -> Offers {
        Offers::new(self.clone())
    }

    /// How peers reach each other.
    #[must_use]
    pub fn ice_candidates(&self) -> IceCandidates {
        IceCandidates::new(self.clone())
    }

    /// What offers are found under.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics::new(self.clone())
    }

    /// The protocol `rpc`, as the peer that has this key.
    #[must_use]
    pub fn rpc(&self, key: KeyPair) -> Rpc {
        Rpc::new(self.clone(), key)
    }

    /// Sends a call, and reads the object that is answered.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let sender = &self.shared.sender;
        let sent = sender.send(&call, self.token().as_deref()).await;
        let (status, body) = sent.map_err(|error| {
            // What rendezvous has not is told as JSON.
            let elsewhere = matches!(error, Error::Answer { status: 404, .. });
            let url = || format!("{}{}", sender.base, call.path);
            if elsewhere { Error::NoRendezvous(url()) } else { error }
        })?;
        sender::read(status, &body)
    }

    /// How long one request may take.
    pub(super) fn patience(&self) -> Duration {
        self.shared.timeout
    }

    /// Sends a call, and answers what comes, which may not end.
    pub(super) async fn stream(&self, call: &Call) -> Result<reqwest::Response> {
        let Shared { endless, timeout, .. } = &*self.shared;
        endless.stream(call, self.token().as_deref(), *timeout).await
    }

    fn token(&self) -> Option<String> {
        let Credential { peer_id, secret } = self.credential.as_deref()?;
        Some(format!("{peer_id}:{}", secret.expose()))
    }
}

/// What a rendezvous server says that did not do what was asked.
fn refusal(status: StatusCode, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Rendezvous {
            error: String,
        },
        /// What stands before it speaks as the rest of the server does.
        Mesh {
            error: ApiError,
        },
        Rpc([rpc::Refused; 1]),
    }
    let status = status.as_u16();
    match serde_json::from_slice(body) {
        Ok(Said::Rendezvous { error }) => {
            Error::Rendezvous(RendezvousError { status, code: None, message: error })
        }
        Ok(Said::Mesh { error }) => Error::Api(ApiError { status, ..error }),
        Ok(Said::Rpc([refused])) => Error::Rendezvous(refused.into_error(status)),
        Err(source) => Error::Answer { status, source: Some(source) },
    }
}
