use std::sync::Arc;

use nxmesh_core::rendezvous::Role;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Answer, Candidate, RendezvousClient, ice_candidates::AT_ONCE, signaler::Works};
use crate::{Error, RendezvousError, Result};

/// What two peers say to each other about one offer, seen from one of them.
///
/// Of a [`Signaler`](super::Signaler), which works as long as there is one.
#[derive(Debug)]
pub struct Negotiation {
    pub(super) sender: CandidateSender,
    pub(super) role: Role,
    pub(super) from: mpsc::Receiver<Result<Signal>>,
    pub(super) _works: Arc<Works>,
}

/// What the other side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Its answer: once, before anything else, and to who made the offer only.
    Answer(Answer),
    /// One of its candidates.
    Candidate(Candidate),
}

/// Sends candidates to the other side of a negotiation.
#[derive(Debug, Clone)]
pub struct CandidateSender {
    pub(super) client: RendezvousClient,
    pub(super) offer: Arc<str>,
}

impl Negotiation {
    /// Which offer it is about.
    #[must_use]
    pub fn offer_id(&self) -> &str {
        &self.sender.offer
    }

    /// One's own part in it.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What sends candidates to the other side, for whoever finds them.
    #[must_use]
    pub fn sender(&self) -> CandidateSender {
        self.sender.clone()
    }

    /// What the other side says next: each thing once, and in the order in which it was said. `None`
    /// when the offer is over, or the signaler is. Nothing is lost when this is dropped before
    /// it is done.
    ///
    /// A server that is away is waited for, for as long as it takes.
    ///
    /// # Errors
    /// When the server refuses the peer. Nothing comes after that.
    pub async fn next(&mut self) -> Result<Option<Signal>> {
        self.from.recv().await.transpose()
    }

    /// Waits for the answer to an offer that one made: for who has nothing to do before.
    ///
    /// # Errors
    /// As [`next`](Self::next); [`is_not_found`](Error::is_not_found) when the offer is over before
    /// anybody answered it, or was answered by oneself.
    pub async fn answer(&mut self) -> Result<Answer> {
        match self.next().await? {
            Some(Signal::Answer(answer)) => Ok(answer),
            Some(Signal::Candidate(_)) | None => {
                let message = "Offer not found or expired".to_owned();
                Err(Error::Rendezvous(RendezvousError { status: 404, code: None, message }))
            }
        }
    }

    /// Takes the offer back, for who made it: nobody finds it any more, and it is over for the other side too.
    /// What is only dropped stays listed until it expires. One that is over already is taken back as well.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when somebody else made it; those of the connection.
    pub async fn withdraw(self) -> Result<()> {
        match self.sender.client.offers().delete(self.offer_id()).await {
            Err(error) if error.is_not_found() && self.role == Role::Offerer => Ok(()),
            done => done,
        }
    }
}

impl CandidateSender {
    /// Sends candidates, in this order. Before the answer, they wait at the server for it.
    ///
    /// Who sends them one call after the other keeps their order. A call that fails because no answer
    /// came from the server may have reached the other side all the same.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) when the offer is over; else as
    /// [`IceCandidates::add`](super::IceCandidates::add).
    pub async fn send<T: Serialize + Sync>(&self, candidates: &[T]) -> Result<()> {
        for some in candidates.chunks(AT_ONCE) {
            self.client.ice_candidates().add(&self.offer, some).await?;
        }
        Ok(())
    }
}
