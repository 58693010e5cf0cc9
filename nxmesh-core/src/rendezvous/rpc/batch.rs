use std::sync::Arc;

use serde::Serialize;

use super::{
    auth::RpcHeaders,
    error::{CallError, CallResult, RpcErrorCode},
    limits::MAX_ANSWER_BYTES,
    operation::{Operation, Signed},
    prepare::{Batch, Prepared, Terms},
};
use crate::{
    Error, ErrorKind, Result,
    rendezvous::{PublicKey, Realm, context::Context},
};

/// What peers do that are known by their keys: the protocol `rpc`, which takes the text of a batch of calls,
/// and makes that of the answer.
///
/// Calls are done one after the other, in their order; one that fails is no matter to the others.
#[derive(Debug, Clone, Copy)]
pub struct Rpc<'a>(pub(super) &'a Context);

/// The answer to a batch.
#[derive(Debug, Clone)]
pub struct RpcAnswer {
    /// Whether it has the answers of calls.
    pub verdict: RpcVerdict,
    /// A list of answers, as JSON.
    pub body: Vec<u8>,
}

/// What became of a batch as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcVerdict {
    /// Each call has its answer, an error perhaps.
    Answered,
    /// It is no batch of calls; the answer says why, once.
    Invalid,
    /// It is larger than one may be; the answer says how large that is, once.
    TooLarge,
}

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    result: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    success: bool,
    error: &'a str,
    error_code: &'static str,
}

impl<'a> Rpc<'a> {
    pub(in crate::rendezvous) const fn new(context: &'a Context) -> Self {
        Self(context)
    }

    /// Does the calls of a batch.
    pub async fn answer(
        &self,
        text: impl AsRef<[u8]> + Send + 'static,
        headers: RpcHeaders,
    ) -> RpcAnswer {
        self.answer_unless(text, headers, None).await
    }

    /// Does none of the calls of a batch, whose sender asks too often: more than `most` times a second.
    pub async fn refuse(&self, text: impl AsRef<[u8]> + Send + 'static, most: u32) -> RpcAnswer {
        let what = format!("Rate limit exceeded. Maximum {most} requests per second per IP.");
        let error = CallError::new(RpcErrorCode::RateLimitExceeded, what);
        self.answer_unless(text, RpcHeaders::default(), Some(error)).await
    }

    /// Refuses a text that has more than `most` bytes.
    #[must_use]
    pub fn too_large(most: usize) -> RpcAnswer {
        let what = format!("Request too large (max {most} bytes)");
        let error = CallError::new(RpcErrorCode::BatchTooLarge, what);
        RpcAnswer { verdict: RpcVerdict::TooLarge, body: list([failure(&error)]) }
    }

    /// How many offers there are.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn offers(&self) -> Result<u64> {
        self.0.store.count(&Realm::Rpc).await
    }

    async fn answer_unless(
        &self,
        text: impl AsRef<[u8]> + Send + 'static,
        headers: RpcHeaders,
        refused: Option<CallError>,
    ) -> RpcAnswer {
        // It is never closed.
        let room = Arc::clone(&self.0.reading).acquire_owned().await.ok();
        let max_offers = self.0.settings.max_offers_per_request;
        let terms = Terms { now: self.0.now(), max_offers, refused };
        // A hundred signatures take ten milliseconds, in which other requests go on.
        let read = move || {
            // Whoever goes away meanwhile does not end this.
            let _room = room;
            Batch::read(text.as_ref(), &headers, &terms)
        };
        let batch = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            let error =
                Error::new(ErrorKind::Internal, "reading a batch failed").with_source(error);
            Batch::AllFail { error: error.into(), calls: 1 }
        });
        match batch {
            Batch::Refused { error, is_too_large } => {
                let verdict = if is_too_large { RpcVerdict::TooLarge } else { RpcVerdict::Invalid };
                RpcAnswer { verdict, body: list([failure(&error)]) }
            }
            Batch::AllFail { error, calls } => {
                let body = list((0..calls).map(|_| failure(&error)));
                RpcAnswer { verdict: RpcVerdict::Answered, body }
            }
            Batch::Calls(calls) => {
                RpcAnswer { verdict: RpcVerdict::Answered, body: self.do_all(calls).await }
            }
        }
    }

    async fn do_all(&self, mut calls: Vec<Prepared>) -> Vec<u8> {
        self.use_nonces(&mut calls).await;
        let (mut answers, mut bytes) = (Vec::with_capacity(calls.len()), 0);
        for call in calls {
            let answer = match call.operation {
                Err(error) => failure(&error),
                Ok(_) if bytes > MAX_ANSWER_BYTES => failure(&too_much()),
                Ok(operation) => self.perform(operation).await,
            };
            bytes += answer.len();
            answers.push(answer);
        }
        list(answers)
    }

    /// Calls whose nonce was used before fail, whatever else there is to say of them.
    async fn use_nonces(&self, calls: &mut [Prepared]) {
        let mut signed: Vec<_> = calls.iter_mut().filter(|it| it.nonce.is_some()).collect();
        let nonces: Vec<_> = signed.iter().filter_map(|it| it.nonce.clone()).collect();
        if nonces.is_empty() {
            return;
        }
        match self.0.store.use_nonces(&nonces, self.0.now()).await {
            Ok(fresh) => {
                let replayed = signed.iter_mut().zip(fresh).filter(|(_, fresh)| !fresh);
                replayed.for_each(|(call, _)| {
                    let what = "Nonce already used (replay attack detected)";
                    call.operation = Err(CallError::new(RpcErrorCode::InvalidCredentials, what));
                });
            }
            Err(error) => {
                let error = CallError::from(error);
                signed.iter_mut().for_each(|call| call.operation = Err(error.clone()));
            }
        }
    }

    async fn perform(&self, operation: Operation) -> Vec<u8> {
        match operation {
            Operation::Discover(what) => self.discover(what).await,
            Operation::CountOffersByTags(what) => entry(self.count_offers_by_tags(what).await),
            Operation::Signed { by, what } => self.perform_of(&by, what).await,
        }
    }

    async fn perform_of(&self, by: &PublicKey, what: Signed) -> Vec<u8> {
        match what {
            Signed::PublishOffer(what) => entry(self.publish_offer(by, what).await),
            Signed::DeleteOffer { id } => entry(self.delete_offer(by, &id).await),
            Signed::UpdateOfferTags { tags } => entry(self.update_offer_tags(by, &tags).await),
            Signed::AnswerOffer(what) => entry(self.answer_offer(by, what).await),
            Signed::GetOfferAnswer { id } => entry(self.get_offer_answer(by, id).await),
            Signed::Poll { since } => entry(self.poll(by, since).await),
            Signed::AddIceCandidates { id, candidates } => {
                entry(self.add_ice_candidates(by, id, candidates).await)
            }
            Signed::GetIceCandidates { id, since } => {
                entry(self.get_ice_candidates(by, id, since).await)
            }
        }
    }
}

/// The answer to a call.
pub(super) fn entry<T: Serialize>(result: CallResult<T>) -> Vec<u8> {
    let result = result.and_then(|result| {
        let written = serde_json::to_vec(&Success { success: true, result });
        let failed =
            |error| Error::new(ErrorKind::Internal, "cannot write an answer").with_source(error);
        written.map_err(|error| failed(error).into())
    });
    result.unwrap_or_else(|error| failure(&error))
}

fn failure(error: &CallError) -> Vec<u8> {
    let CallError { code, message } = error;
    let failure = Failure { success: false, error: message, error_code: code.as_str() };
    serde_json::to_vec(&failure).expect("texts can be written as JSON")
}

fn too_much() -> CallError {
    let what = format!(
        "The answers to this batch exceed {MAX_ANSWER_BYTES} bytes: make fewer calls at once"
    );
    CallError::new(RpcErrorCode::BatchTooLarge, what)
}

fn list(answers: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut list = Vec::new();
    for answer in answers {
        list.push(if list.is_empty() { b'[' } else { b',' });
        list.extend(answer);
    }
    list.push(b']');
    list
}
