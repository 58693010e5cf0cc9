//! Calls that come to their end, whoever waits for them.
//!
//! A call that is broken off costs its connection, while the database goes on with it; and nobody would be told of
//! what it changes. So each runs in a task of its own, as many at once as there are connections.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{
    Result, Tasks,
    store::postgres::{connections::TURN, error::unavailable},
};

#[derive(Debug, Clone)]
pub(super) struct Calls {
    turns: Arc<Semaphore>,
    tasks: Tasks,
}

impl Calls {
    pub(super) fn new(most: u32) -> Self {
        Self { turns: Arc::new(Semaphore::new(most as usize)), tasks: Tasks::default() }
    }

    /// What a call answers. Once it has begun it goes on when nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let busy = || unavailable("too many calls of the database wait: try again");
        let turn = timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let (answer, answered) = oneshot::channel();
        self.tasks.spawn(async move {
            let done = call.await;
            drop(turn);
            // Whoever asked may be gone.
            let _ = answer.send(done);
        });
        answered.await.map_err(|_| unavailable("the call was interrupted").undecided())?
    }
}
