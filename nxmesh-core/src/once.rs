//! Doing a request once, however often it is sent.

use std::{future::Future, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    Actor, Clock, Error, ErrorKind, FieldCode, FieldError, Held, IdempotencyKey, IdempotencyStore,
    KeyedHash, Reservation, Result, Secret, Tasks,
    tenancy::{MasterKey, Sealed},
};

/// How long a key is held.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// How long after it began a request that has not ended may still be under way; later its end
/// was lost.
const LONGEST: TimeDelta = TimeDelta::seconds(60);
/// How many requests with keys are under way at most; one more is refused.
const MAX_UNDER_WAY: usize = 1024;
/// The largest answer that is kept.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// How long the caller waits at most for the end to be recorded, when the store is away.
const RECORD_BEFORE: Duration = Duration::from_secs(5);
/// How long it is tried in all, and how often.
const RECORD_FOR: Duration = Duration::from_secs(60);
const RECORD_PAUSE: Duration = Duration::from_millis(250);

/// How the header is called that carries the key, and the field that errors name.
const FIELD: &str = "Idempotency-Key";

/// Does requests once that may be sent again: `mesh.once()`.
#[derive(Debug, Clone)]
pub struct Once {
    store: Arc<dyn IdempotencyStore>,
    clock: Arc<dyn Clock>,
    master: MasterKey,
    tasks: Tasks,
    room: Arc<Semaphore>,
}

/// What became of a request that has a key.
#[derive(Debug)]
pub enum Done<A> {
    /// It was done now.
    Now(A),
    /// It was done before: what was kept of its answer.
    Before(Secret<Vec<u8>>),
    /// The same request is under way, or was cut off less than a minute ago.
    UnderWay,
}

/// What a request comes to, and what is kept of that.
#[derive(Debug)]
pub enum Outcome<A> {
    /// Something may have changed: whoever sends the request again is told this.
    Kept(A, Vec<u8>),
    /// Nothing was changed: whoever sends the request again has it done.
    Nothing(A),
}

/// How the end of a request is written down.
enum Record {
    Complete(Sealed),
    Release,
}

impl Once {
    pub(crate) fn new(
        store: Arc<dyn IdempotencyStore>,
        clock: Arc<dyn Clock>,
        master: MasterKey,
        tasks: Tasks,
    ) -> Self {
        Self { store, clock, master, tasks, room: Arc::new(Semaphore::new(MAX_UNDER_WAY)) }
    }

    /// Does `work`, unless the actor had it done under this key in the last 24 hours. `request`
    /// is all that tells it from another one. The key is reserved on disk before the work begins,
    /// and its outcome is there before this answers; the work goes on, and is recorded, when
    /// this future is dropped.
    ///
    /// An outcome that is larger than 4 MiB is answered, but not kept.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming `Idempotency-Key`, when the key was used for another
    /// request; [`Conflict`](ErrorKind::Conflict), naming it too, when it was used for this one and
    /// the answer was lost; those of the store, when nothing was done.
    pub async fn run<A: Send + 'static>(
        &self,
        actor: &Actor,
        key: &IdempotencyKey,
        request: &[&[u8]],
        work: impl Future<Output = Outcome<A>> + Send + 'static,
    ) -> Result<Done<A>> {
        let reservation = self.reservation(actor, key, request);
        let full = |_| {
            let message = "too many requests with keys are under way: try again later";
            Error::new(ErrorKind::Unavailable, message)
        };
        let turn = Arc::clone(&self.room).try_acquire_owned().map_err(full)?;
        let (sender, answer) = oneshot::channel();
        let once = self.clone();
        self.tasks.spawn(async move { once.carry_out(reservation, work, sender, turn).await });
        let interrupted =
            |_| Error::new(ErrorKind::Internal, "the request was interrupted").undecided();
        answer.await.map_err(interrupted)?
    }

    async fn carry_out<A>(
        self,
        reservation: Reservation,
        work: impl Future<Output = Outcome<A>> + Send,
        answer: oneshot::Sender<Result<Done<A>>>,
        _turn: OwnedSemaphorePermit,
    ) {
        let begun = match self.store.reserve(&reservation).await {
            Ok(None) => Ok(()),
            Ok(Some(held)) => Err(self.again(&reservation, held)),
            Err(error) => {
                let undecided = error.is_undecided();
                // Nothing was done, whatever became of the key.
                let _ = answer.send(Err(error.decided()));
                if undecided {
                    self.record(&reservation, &Record::Release, RECORD_FOR).await;
                }
                return;
            }
        };
        // Whoever asked may have gone away, here and below.
        if let Err(again) = begun {
            let _ = answer.send(again);
            return;
        }
        let (done, record) = match work.await {
            Outcome::Kept(done, bytes) => match self.seal(&reservation.key, &bytes) {
                Ok(sealed) => (done, Record::Complete(sealed)),
                Err(error) => {
                    tracing::error!(%error, "cannot keep an answer");
                    let _ = answer.send(Ok(Done::Now(done)));
                    return;
                }
            },
            Outcome::Nothing(done) => (done, Record::Release),
        };
        let recorded = self.record(&reservation, &record, RECORD_BEFORE).await;
        let _ = answer.send(Ok(Done::Now(done)));
        if !recorded && !self.record(&reservation, &record, RECORD_FOR).await {
            tracing::warn!("the outcome of a request with a key could not be stored");
        }
    }

    /// What is answered to the same key again.
    fn again<A>(&self, reservation: &Reservation, held: Held) -> Result<Done<A>> {
        let Held { request, reserved_at, answer } = held;
        if request != reservation.request {
            let message = "was used for another request: send each request with a key of its own";
            return Err(Error::invalid_field(FIELD, FieldCode::InvalidValue, message));
        }
        let Some(answer) = answer else {
            if self.clock.now() - reserved_at < LONGEST {
                return Ok(Done::UnderWay);
            }
            return Err(lost(
                "the request with this key was begun, and its outcome was lost when a server or \
                 its store failed: look whether it was done, and if not, send it with another key",
            ));
        };
        let answer = self.master.open(&purpose(&reservation.key), &answer)?;
        if answer.expose().is_empty() {
            return Err(lost(
                "the request with this key was done, and its answer was too large to be kept",
            ));
        }
        Ok(Done::Before(answer))
    }

    fn seal(&self, key: &KeyedHash, answer: &[u8]) -> Result<Sealed> {
        let kept = if answer.len() > MAX_ANSWER_BYTES { &[] } else { answer };
        self.master.seal(&purpose(key), kept)
    }

    /// Writes down how it ended; tries again for so long while the store is away.
    async fn record(&self, reservation: &Reservation, record: &Record, patience: Duration) -> bool {
        let began = Instant::now();
        let Reservation { key, ticket, .. } = reservation;
        loop {
            let recorded = match record {
                Record::Complete(answer) => self.store.complete(key, *ticket, answer).await,
                Record::Release => self.store.release(key, *ticket).await,
            };
            let Err(error) = recorded else { return true };
            tracing::debug!(%error, "cannot store the outcome of a request with a key");
            if began.elapsed() + RECORD_PAUSE > patience {
                return false;
            }
            tokio::select! {
                () = sleep(RECORD_PAUSE) => {}
                () = self.tasks.stopping().cancelled() => return false,
            }
        }
    }

    fn reservation(&self, actor: &Actor, key: &IdempotencyKey, request: &[&[u8]]) -> Reservation {
        let principal = match actor.api_key() {
            Some(id) => *id.as_uuid(),
            None => *actor.user_id().as_uuid(),
        };
        let reserved_at = self.clock.now();
        Reservation {
            key: self.master.hash("key of a request", &[principal.as_bytes(), key.as_bytes()]),
            ticket: Uuid::new_v4(),
            request: self.master.hash("request", request),
            reserved_at,
            expires_at: reserved_at + KEPT,
        }
    }
}

/// An answer can be opened only as that of the key it was sealed for.
fn purpose(key: &KeyedHash) -> String {
    format!("answer to the request {}", URL_SAFE_NO_PAD.encode(key.as_bytes()))
}

fn lost(message: &str) -> Error {
    let (field, message_of_field) = (FIELD.to_owned(), "was used already".to_owned());
    let code = FieldCode::Duplicate;
    let field = FieldError { field, message: message_of_field, code };
    Error::new(ErrorKind::Conflict, message).with_fields(vec![field])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Id, Mesh, store::memory::MemoryStore};

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_answered_once() {
        let mesh = Mesh::builder().store(MemoryStore::new()).build().await.unwrap();
        let actor = Actor::user(Id::from_uuid(Uuid::nil()));
        let run = async |key: &str, size: usize| {
            let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
            let work = async move { Outcome::Kept((), vec![b'a'; size]) };
            mesh.once().run(&actor, &key, &[b"request"], work).await
        };
        for (key, size) in [("fits", MAX_ANSWER_BYTES), ("too-large", MAX_ANSWER_BYTES + 1)] {
            assert!(matches!(run(key, size).await, Ok(Done::Now(()))), "{key}");
        }
        let kept = run("fits", 0).await.unwrap();
        assert!(matches!(kept, Done::Before(answer) if answer.expose().len() == MAX_ANSWER_BYTES));
        let error = run("too-large", 0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("too large to be kept"), "{error}");
        mesh.shutdown().await;
    }

    #[tokio::test]
    async fn one_request_too_many_is_refused() {
        let mesh = Mesh::builder().store(MemoryStore::new()).build().await.unwrap();
        let actor = Actor::user(Id::from_uuid(Uuid::nil()));
        let (go, gone) = tokio::sync::watch::channel(false);
        let run = async |number: usize| {
            let key = IdempotencyKey::parse(number.to_string().as_bytes()).unwrap();
            let mut gone = gone.clone();
            let work = async move {
                gone.wait_for(|it| *it).await.unwrap();
                Outcome::Nothing(())
            };
            mesh.once().run(&actor, &key, &[], work).await
        };
        let all = futures::future::join_all((0..MAX_UNDER_WAY).map(run));
        let one_more = async {
            while mesh.once().room.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            let refused = run(MAX_UNDER_WAY).await.unwrap_err();
            go.send(true).unwrap();
            refused
        };
        let (done, refused) = tokio::join!(all, one_more);
        assert!(done.iter().all(|it| matches!(it, Ok(Done::Now(())))));
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        mesh.shutdown().await;
    }
}
