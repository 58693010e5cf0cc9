use std::{fmt, marker::PhantomData};

use nxmesh_core::{
    Clock, SystemClock,
    rendezvous::{KeyPair, PublicKey, canonical_json},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::RendezvousClient;
use crate::{Error, RendezvousError, Result, request::Call};

/// The protocol `rpc`, as the peer that has a key: `client.rpc(key)`.
///
/// ```no_run
/// # async fn f() -> Result<(), nxmesh_client::Error> {
/// use nxmesh_client::rendezvous::{DiscoverOne, KeyPair, Poll, RendezvousClient};
///
/// let client = RendezvousClient::new("https://example.com/rendezvous")?;
/// let rpc = client.rpc(KeyPair::generate());
/// let found = rpc.call(&DiscoverOne { tags: vec!["movie-xyz".into()] }).await?;
/// println!("{} of {}", found.offer_id, found.public_key);
///
/// // Several calls as one request.
/// let mut batch = rpc.batch();
/// let others = batch.add(&DiscoverOne { tags: vec!["music".into()] })?;
/// let polled = batch.add(&Poll { since: None })?;
/// let mut answers = batch.send().await?;
/// println!("{:?}, {} answers", answers.take(others), answers.take(polled)?.answers.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Rpc {
    client: RendezvousClient,
    key: KeyPair,
}

/// A call of the protocol: what it is named, and what it answers. The value has its parameters.
pub trait Method: Serialize {
    /// Its name.
    const NAME: &'static str;
    /// What it answers.
    type Answer: DeserializeOwned;
}

/// Calls that are sent together; each works or fails for itself.
#[derive(Debug)]
pub struct Batch<'a> {
    rpc: &'a Rpc,
    calls: Vec<Value>,
}

/// What a [`Batch`] was answered.
#[derive(Debug)]
pub struct Answers(Vec<Option<Box<RawValue>>>);

/// Stands for the answer of a call that was added to a [`Batch`].
pub struct Ticket<M: Method> {
    at: usize,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> fmt::Debug for Ticket<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("method", &M::NAME).field("at", &self.at).finish()
    }
}

/// That a call failed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused {
    error: String,
    error_code: Option<String>,
}

impl Refused {
    pub(super) fn into_error(self, status: u16) -> RendezvousError {
        RendezvousError { status, code: self.error_code, message: self.error }
    }
}

impl Rpc {
    pub(super) const fn new(client: RendezvousClient, key: KeyPair) -> Self {
        Self { client, key }
    }

    /// Who the peer is.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Sends one call.
    ///
    /// # Errors
    /// Those of the call: [`Error::Rendezvous`] with the server's code and text.
    pub async fn call<M: Method + Sync>(&self, call: &M) -> Result<M::Answer> {
        let mut batch = self.batch();
        let ticket = batch.add(call)?;
        batch.send().await?.take(ticket)
    }

    /// Begins a request of several calls.
    #[must_use]
    pub const fn batch(&self) -> Batch<'_> {
        Batch { rpc: self, calls: Vec::new() }
    }

    /// A call as it is sent: with a signature that is good once, and for a minute.
    fn signed<M: Method>(&self, call: &M) -> Result<Value> {
        let bad = |why: String| {
            let message = format!("{}: {why}", M::NAME);
            Error::Rendezvous(RendezvousError { status: 400, code: None, message })
        };
        let params = serde_json::to_value(call).map_err(|error| bad(error.to_string()))?;
        let text = canonical_json(&params).map_err(|error| bad(error.to_string()))?;
        let (timestamp, nonce) = (SystemClock.now().timestamp_millis(), Uuid::new_v4());
        let signature = self.key.sign(&format!("{timestamp}:{nonce}:{}:{text}", M::NAME));
        let auth = json!({
            "publicKey": self.key.public_key().as_str(),
            "timestamp": timestamp,
            "nonce": nonce,
            "signature": signature,
        });
        Ok(json!({"method": M::NAME, "params": params, "auth": auth}))
    }
}

impl Batch<'_> {
    /// Adds a call, and answers what its answer is taken by. A server takes 100 at once.
    ///
    /// # Errors
    /// [`Error::Rendezvous`] when the parameters cannot be signed: they are too deep.
    pub fn add<M: Method>(&mut self, call: &M) -> Result<Ticket<M>> {
        self.calls.push(self.rpc.signed(call)?);
        Ok(Ticket { at: self.calls.len() - 1, method: PhantomData })
    }

    /// Sends the calls. They are done in the order in which they were added.
    ///
    /// # Errors
    /// Where none was done: [`Error::Rendezvous`] when there are too many, or none.
    pub async fn send(self) -> Result<Answers> {
        let calls = self.calls.len();
        let call = Call::post_unnamed("rpc".to_owned()).body(&self.calls);
        let answers: Vec<Box<RawValue>> = self.rpc.client.fetch(call).await?;
        if answers.len() != calls {
            return Err(Error::Answer { status: 200, source: None });
        }
        Ok(Answers(answers.into_iter().map(Some).collect()))
    }
}

impl Answers {
    /// What a call answered.
    ///
    /// # Errors
    /// Why it failed: [`Error::Rendezvous`] with the server's code and text. [`Error::Answer`]
    /// for the ticket of another batch.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is good once")]
    pub fn take<M: Method>(&mut self, ticket: Ticket<M>) -> Result<M::Answer> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said<T> {
            Done { result: T },
            Refused(Refused),
        }
        let Ticket { at, method: _ } = ticket;
        let not_understood = |source| Error::Answer { status: 200, source };
        let answer = self.0.get_mut(at).and_then(Option::take);
        let answer = answer.ok_or_else(|| not_understood(None))?;
        match serde_json::from_str(answer.get()) {
            Ok(Said::Done { result }) => Ok(result),
            Ok(Said::Refused(refused)) => Err(Error::Rendezvous(refused.into_error(200))),
            Err(source) => Err(not_understood(Some(source))),
        }
    }
}
