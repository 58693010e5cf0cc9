use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use crate::{Error, ErrorKind, Result};

/// How many such things are done at once: whoever may only look must not take all processors.
const AT_ONCE: usize = 2;
/// How long one may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where files are rendered and compared for people, while nobody else waits for it.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Aside {
    turns: Arc<Semaphore>,
}

impl Default for Aside {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Aside {
    /// Does this when it is its turn. Once begun it is finished, whoever still waits for it.
    pub(in crate::gateway) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let busy = || {
            let message = "too much is being rendered for others: try again later";
            Error::new(ErrorKind::Unavailable, message)
        };
        let turn = timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            Error::new(ErrorKind::Internal, "rendering was interrupted").with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_too_long_is_told_and_turns_come_back() {
        let aside = Aside::default();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(Arc::clone(&aside.turns).acquire_owned().await.unwrap());
        }
        assert_eq!(aside.run(|| 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
        taken.pop();
        for _ in 0..10 {
            assert_eq!(aside.run(|| 1).await.unwrap(), 1);
        }
        assert_eq!(
            aside.run(|| panic!("on purpose")).await.map(|(): ()| ()).unwrap_err().kind(),
            ErrorKind::Internal
        );
        assert_eq!(aside.run(|| 1).await.unwrap(), 1, "what panics gives its turn back");
    }
}
