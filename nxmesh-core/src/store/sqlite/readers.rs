//! Threads that read for all.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use crate::{Error, ErrorKind, Result};

/// How many reads may wait, those included that were given up; the next caller waits for room.
const MAX_WAITING: usize = 1024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The handle of the reading threads, which end with it.
pub(super) struct Readers {
    room: Arc<Semaphore>,
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
        let room = Arc::new(Semaphore::new(MAX_WAITING));
        let mut readers = Self { room, queue, threads: Vec::new() };
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
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| gone())?;
        let (answer, answered) = oneshot::channel();
        self.queue.push(Box::new(move |connection| {
            // It is the read that takes room, whether its caller waits for it or not.
            let _room = room;
            if answer.is_closed() {
                return;
            }
            let read = connection.transaction().map_err(Error::from).and_then(|it| work(&it));
            // A caller that went away meanwhile needs no answer.
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

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn reads_that_were_given_up_are_not_done_and_have_no_more_room_than_others() {
        let readers = Readers::start(vec![Connection::open_in_memory().unwrap()]).unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let first = readers.read(move |_| {
            wait.recv().unwrap();
            Ok(())
        });
        let done = Arc::<AtomicUsize>::default();
        let others = async {
            for _ in 0..2 * MAX_WAITING {
                let done = Arc::clone(&done);
                let read = readers.read(move |_| Ok(done.fetch_add(1, Ordering::Relaxed)));
                assert!(read.now_or_never().is_none());
                tokio::task::yield_now().await;
            }
            let waiting = readers.queue.lock().jobs.len();
            assert!(waiting <= MAX_WAITING, "{waiting}");
            go.send(()).unwrap();
        };
        tokio::join!(first, others).0.unwrap();
        readers.read(|_| Ok(())).await.unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 0);
    }
}
