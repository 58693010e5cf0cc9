//! Threads that read for all.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use crate::{Error, ErrorKind, Result};

/// How many reads may wait; the next caller waits for room.
const MAX_WAITING: usize = 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The handle of the reading threads, which end with it.
pub(super) struct Readers {
    room: Semaphore,
    queue: Arc<Queue>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

impl Readers {
    /// Starts a thread for each of these.
    pub(super) fn start(connections: Vec<Connection>) -> Result<Self> {
        let queue = Arc::<Queue>::default();
        let mut readers = Self { room: Semaphore::new(MAX_WAITING), queue, threads: Vec::new() };
        for connection in connections {
            let queue = Arc::clone(&readers.queue);
            let thread = thread::Builder::new().name("sqlite-reader".to_owned());
            let thread = thread.spawn(move || queue.work(connection)).map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot start a reading thread")
                    .with_source(error)
            })?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Reads; all that `work` sees is of one moment.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let gone = || Error::new(ErrorKind::Unavailable, "the database is closed");
        let _room = self.room.acquire().await.map_err(|_| gone())?;
        let (answer, answered) = oneshot::channel();
        self.queue.push(Box::new(move |connection| {
            let read = connection.transaction().map_err(Error::from).and_then(|it| work(&it));
            // A caller that went away needs no answer.
            let _ = answer.send(read);
        }));
        answered.await.map_err(|_| gone())?
    }
}

impl Queue {
    fn push(&self, job: Job) {
        let mut state = self.lock();
        state.jobs.push_back(job);
        // Whoever works comes back for it.
        if state.idle > 0 {
            self.more.notify_one();
        }
    }

    fn work(&self, mut connection: Connection) {
        while let Some(job) = self.next() {
            job(&mut connection);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.more.notify_all();
        for thread in self.threads.drain(..) {
            // Should it have panicked, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}
