//! Group commit: one thread that writes for all.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::log::Log;
use crate::{
    Error, ErrorKind, Result,
    store::local::{Effect, Local},
};

/// How many writes may wait; the next caller waits for room.
const MAX_WAITING: usize = 1024;
/// How many writes share one transaction at most.
const MAX_GROUP: usize = 256;

/// Who has to know what writes leave behind.
pub(super) trait Audience: Send + Sync + 'static {
    /// What there is to know.
    type Effect: Default + Send + 'static;

    /// Takes note before the caller is answered, even when it is not sure that the write was done.
    fn count(&self, effect: &Self::Effect);

    /// Tells others, once it is on disk.
    fn tell(&self, effect: Self::Effect);
}

impl Audience for Local {
    type Effect = Effect;

    fn count(&self, effect: &Effect) {
        Self::count(self, effect);
    }

    fn tell(&self, effect: Effect) {
        Self::tell(self, effect);
    }
}

/// What a write leaves behind.
pub(super) struct Written<T, E = Effect> {
    pub(super) answer: T,
    /// To be counted and announced once it is on disk.
    pub(super) effect: E,
}

impl<T, E: Default> Written<T, E> {
    /// Nothing that others need to hear of.
    pub(super) fn quietly(answer: T) -> Self {
        Self { answer, effect: E::default() }
    }
}

/// Does its work, if the group could begin.
type Job<E> = Box<dyn FnOnce(Option<&Connection>) -> Report<E> + Send>;

/// What is to be done once the group is committed or not.
struct Report<E> {
    effect: E,
    tell: Box<dyn FnOnce(Result<(), String>) + Send>,
}

/// The handle of the writing thread, which ends with it.
pub(super) struct Writer<A: Audience = Local> {
    jobs: Option<mpsc::Sender<Job<A::Effect>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl<A: Audience> Writer<A> {
    pub(super) fn start(connection: Connection, log: Log, news: Arc<A>) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let run = move || run(&connection, log, waiting, news.as_ref());
        let thread = thread::Builder::new().name("sqlite-writer".to_owned()).spawn(run);
        let failed = |error| {
            Error::new(ErrorKind::Unavailable, "cannot start the writing thread").with_source(error)
        };
        Ok(Self { jobs: Some(jobs), thread: Mutex::new(Some(thread.map_err(failed)?)) })
    }

    /// Writes. When this is given up before the write begins, nothing is written; once
    /// it has begun, it is done all the same.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<Written<T, A::Effect>> + Send + 'static,
    ) -> Result<T> {
        let gone = || Error::new(ErrorKind::Unavailable, "the database is closed");
        let (answer, answered) = oneshot::channel();
        let job: Job<A::Effect> = Box::new(move |connection| {
            if answer.is_closed() {
                return Report { effect: A::Effect::default(), tell: Box::new(|_| ()) };
            }
            let done = connection
                .map_or_else(|| Err(cannot_begin()), |connection| alone(connection, work));
            let (done, effect) = match done {
                Ok(Written { answer, effect }) => (Ok(answer), effect),
                Err(error) => (Err(error), A::Effect::default()),
            };
            let tell = Box::new(move |committed| {
                let failed = |why: String| {
                    // What reached the disk before it failed may count after a crash.
                    Error::new(ErrorKind::Unavailable, "cannot commit").with_source(why).undecided()
                };
                // Whose caller went away meanwhile is done all the same.
                let _ = answer.send(done.and_then(|it| match committed {
                    Ok(()) => Ok(it),
                    Err(why) => Err(failed(why)),
                }));
            });
            Report { effect, tell }
        });
        self.jobs.as_ref().ok_or_else(gone)?.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone().undecided())?
    }
}

impl<A: Audience> Drop for Writer<A> {
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends with the last job; should it have panicked, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn run<A: Audience>(
    connection: &Connection,
    mut log: Log,
    mut waiting: mpsc::Receiver<Job<A::Effect>>,
    news: &A,
) {
    while let Some(first) = waiting.blocking_recv() {
        let mut reports = Vec::new();
        let began = connection.execute_batch("BEGIN IMMEDIATE");
        let mut next = Some(first);
        while let Some(job) = next {
            reports.push(job(began.is_ok().then_some(connection)));
            let room = reports.len() < MAX_GROUP;
            next = if room { waiting.try_recv().ok() } else { None };
        }
        let committed = began.and_then(|()| connection.execute_batch("COMMIT"));
        if committed.is_err() {
            // Not in a transaction is fine: then there is nothing to undo.
            let _ = connection.execute_batch("ROLLBACK");
        }
        let committed = committed.map_err(|error| error.to_string());
        for Report { effect, tell } in reports {
            // Counted before it is answered, and even when it is not sure what became of it.
            news.count(&effect);
            tell(committed.clone());
            if committed.is_ok() {
                news.tell(effect);
            }
        }
        log.keep_small(connection);
    }
}

fn cannot_begin() -> Error {
    Error::new(ErrorKind::Unavailable, "the database is held by somebody else")
}

/// Runs one job so that its failure undoes only itself.
fn alone<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let done = work(connection);
    if done.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    done
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::mpsc};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_write_that_is_given_up_is_done_if_it_has_begun_and_else_not() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE written (number INTEGER)").unwrap();
        let log = Log::watch(&connection, Path::new("none"), u64::MAX).unwrap();
        let writer = Writer::start(connection, log, Arc::new(Local::new())).unwrap();
        let write = |number| {
            move |db: &Connection| {
                db.execute("INSERT INTO written VALUES (?1)", [number])?;
                Ok(Written::quietly(()))
            }
        };
        let (began, begun) = oneshot::channel();
        let (go, wait) = mpsc::channel::<()>();
        let first = writer.write(move |db| {
            began.send(()).unwrap();
            wait.recv().unwrap();
            write(1)(db)
        });
        tokio::select! {
            biased;
            _ = first => panic!("it waits"),
            begun = begun => begun.unwrap(),
        }
        for _ in 0..100 {
            assert!(writer.write(write(2)).now_or_never().is_none());
        }
        let last = writer.write(write(3));
        let (last, ()) = tokio::join!(last, async { go.send(()).unwrap() });
        last.unwrap();
        let written = writer.write(|db| {
            let mut statement = db.prepare("SELECT number FROM written ORDER BY number")?;
            let numbers = statement.query_map([], |row| row.get(0))?;
            Ok(Written::quietly(numbers.collect::<Result<Vec<i64>, _>>()?))
        });
        assert_eq!(written.await.unwrap(), [1, 3]);
    }
}
