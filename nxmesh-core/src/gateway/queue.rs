//! Changes of one workspace on their way to the store.
//!
//! Each change is decided on what the changes before it lead to, whether those are
//! committed or not, and whatever waits while a commit is under way goes out as the next
//! one: many callers share one round trip and one `fsync`. Nobody sees a state, and no
//! caller is answered, before it is committed.

pub(crate) mod commit;

use std::{
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::{
    Error, ErrorKind, Result, RevisionNumber,
    gateway::{GatewayChange, Snapshot, Step},
};

/// How many changes of a workspace may wait; one more is refused.
const MAX_WAITING: usize = 1024;
/// How many objects those may write, of which a change set has many.
const MAX_WAITING_WRITES: usize = 16 * 1024;
/// How many changes are committed together at most.
const MAX_TOGETHER: usize = 128;
/// How many objects those may write, unless the first of them alone writes more.
const MAX_WRITES_TOGETHER: usize = 2048;

/// The changes of one workspace, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// What the commit that is under way leads to.
    in_flight: Option<Arc<Snapshot>>,
    committing: bool,
}

/// Something that is decided and not committed.
#[derive(Debug)]
struct Waiting {
    base: RevisionNumber,
    /// `None` when it was decided to do nothing: that too is true only once what it stands
    /// on is committed.
    step: Option<Step>,
    after: Arc<Snapshot>,
    answer: oneshot::Sender<Result<()>>,
}

impl Waiting {
    fn writes(&self) -> usize {
        self.step.as_ref().map_or(0, |it| it.writes.len())
    }
}

/// The turn to decide: nobody else decides meanwhile.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Queue,
    _turn: OwnedMutexGuard<()>,
}

/// A change on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    answer: oneshot::Receiver<Result<()>>,
}

impl Pending {
    /// Waits until it is committed, or fails. `Stale` means that it was not, and may be
    /// decided anew.
    pub(crate) async fn committed(self) -> Result<()> {
        let interrupted =
            |_| Error::new(ErrorKind::Internal, "committing the change was interrupted");
        self.answer.await.map_err(interrupted)?
    }
}

impl Queue {
    /// Waits for the turn to decide.
    pub(crate) async fn turn(self) -> Turn {
        let _turn = Arc::clone(&self.turn).lock_owned().await;
        Turn { queue: self, _turn }
    }

    /// Where the commit that is under way leads to.
    pub(crate) fn leads_to(&self) -> Option<RevisionNumber> {
        self.lock().in_flight.as_ref().map(|it| it.revision())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The state that the changes under way lead to, if there are any.
    pub(crate) fn tip(&self) -> Option<Arc<Snapshot>> {
        let state = self.queue.lock();
        state.waiting.last().map(|it| &it.after).or(state.in_flight.as_ref()).cloned()
    }

    /// Puts a decision at the end, and gives the turn up. Whoever is handed the commits
    /// must see to them.
    pub(crate) fn push(
        self,
        base: RevisionNumber,
        step: Option<Step>,
        after: Arc<Snapshot>,
    ) -> Result<(Pending, Option<Commits>)> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.queue.lock();
        let writes: usize = state.waiting.iter().map(Waiting::writes).sum();
        if state.waiting.len() >= MAX_WAITING || writes >= MAX_WAITING_WRITES {
            let message = "too many changes of the workspace wait: try again later";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        state.waiting.push(Waiting { base, step, after, answer: sender });
        let idle = !mem::replace(&mut state.committing, true);
        drop(state);
        Ok((Pending { answer }, idle.then(|| Commits(self.queue.clone()))))
    }
}

/// Changes that are committed together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) change: GatewayChange,
    pub(crate) after: Arc<Snapshot>,
    pub(crate) answers: Answers,
}

/// Those who wait for a batch.
#[derive(Debug)]
pub(crate) struct Answers(Vec<oneshot::Sender<Result<()>>>);

/// What waits to be committed, in the hands of the only one who does that. Whatever ends that,
/// even a panic, lets the next one begin.
#[derive(Debug)]
pub(crate) struct Commits(Queue);

impl Commits {
    /// The next batch; with none left, nobody commits any more.
    pub(crate) fn next(&self) -> Option<Batch> {
        let mut state = self.0.lock();
        let mut writes = 0;
        let fits = |it: &&Waiting| {
            writes += it.writes();
            writes <= MAX_WRITES_TOGETHER
        };
        let fitting = state.waiting.iter().take(MAX_TOGETHER).take_while(fits).count();
        let count = fitting.max(1).min(state.waiting.len());
        let batch: Vec<_> = state.waiting.drain(..count).collect();
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            state.committing = false;
            return None;
        };
        let (base, after) = (first.base, Arc::clone(&last.after));
        state.in_flight = Some(Arc::clone(&after));
        drop(state);
        let (steps, answers): (Vec<_>, _) =
            batch.into_iter().map(|it| (it.step, it.answer)).unzip();
        let steps = steps.into_iter().flatten().collect();
        let change = GatewayChange { workspace_id: after.workspace_id(), base, steps };
        Some(Batch { change, after, answers: Answers(answers) })
    }

    /// It is committed and published.
    pub(crate) fn succeeded(&self, answers: Answers) {
        self.0.lock().in_flight = None;
        for answer in answers.0 {
            // Whoever asked may have gone away.
            let _ = answer.send(Ok(()));
        }
    }

    /// It is not: what was decided on top of it is void too. Nobody decides until `look`, which
    /// finds out what is true now, is through.
    pub(crate) async fn failed(
        &self,
        answers: Answers,
        why: &Error,
        look: impl Future<Output = ()>,
    ) {
        let _turn = self.0.turn.lock().await;
        look.await;
        let later = {
            let mut state = self.0.lock();
            state.in_flight = None;
            mem::take(&mut state.waiting)
        };
        for answer in answers.0 {
            let _ = answer.send(Err(why.again()));
        }
        for it in later {
            let _ = it.answer.send(Err(Error::new(ErrorKind::Stale, "what it stands on failed")));
        }
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.lock() = State::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{Id, Revision, Trail, gateway::GatewayWrite};

    /// A change that writes so many objects.
    fn step(writes: usize) -> Step {
        let revision = Revision {
            workspace_id: Id::from_uuid(Uuid::nil()),
            number: RevisionNumber(1),
            author: Id::from_uuid(Uuid::nil()),
            reason: String::new(),
            created_at: DateTime::UNIX_EPOCH,
        };
        let write = GatewayWrite::DeleteUpstream(Id::from_uuid(Uuid::nil()));
        Step { revision, writes: vec![write; writes], secret: None, trail: Trail::default() }
    }

    async fn push(queue: &Queue, writes: usize) -> Result<(Pending, Option<Commits>)> {
        let (workspace, organization) = (Id::from_uuid(Uuid::nil()), Id::from_uuid(Uuid::nil()));
        let after = Arc::new(Snapshot::empty(workspace, organization));
        queue.clone().turn().await.push(RevisionNumber(0), Some(step(writes)), after)
    }

    #[tokio::test]
    async fn what_is_committed_together_is_bounded_by_what_it_writes() {
        let queue = Queue::default();
        let (_first, commits) = push(&queue, 1).await.unwrap();
        let mut waiting = Vec::new();
        for writes in [1000, 1000, 47, 1, 5000, 1, 1] {
            waiting.push(push(&queue, writes).await.unwrap());
        }
        let commits = commits.unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = commits.next() {
            batches.push(batch.change.steps.iter().map(|it| it.writes.len()).collect::<Vec<_>>());
            commits.succeeded(batch.answers);
        }
        let expected: [&[usize]; 4] = [&[1, 1000, 1000, 47], &[1], &[5000], &[1, 1]];
        assert_eq!(batches, expected);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_by_what_it_writes() {
        let queue = Queue::default();
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING_WRITES.div_ceil(1000) {
            waiting.push(push(&queue, 1000).await.unwrap());
        }
        assert_eq!(push(&queue, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
