//! Answers of a store, at hand for as long as nothing has changed there.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Result;

/// Answers by what was asked.
///
/// - An answer is kept with the store's count of changes from *before* it was read, and is given
///   out only while the store still shows that count. The count moves before a change is
///   answered: whoever was told of a change never sees what was before it.
/// - Where the store shows no count, because others may change it too, nothing is kept.
/// - Only what is there is kept: nobody fills it with guesses. One answer more than the limit,
///   and all are dropped and read anew.
/// - What decides on a change reads the store itself: between a change and its count, what is
///   at hand may be older than a head that was read there.
pub(crate) struct Cache<K, V> {
    limit: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    /// The count that all answers were read at.
    changes: u64,
    answers: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::new(State { changes: 0, answers: HashMap::new() }) }
    }

    /// The answer at hand, or else what `read` finds. `changes` is the store's count now.
    pub(crate) async fn get(
        &self,
        changes: Option<u64>,
        asked: K,
        read: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<V>> {
        let Some(changes) = changes else { return read.await };
        if let Some(answer) = self.at(changes).answers.get(&asked) {
            return Ok(Some(answer.clone()));
        }
        let found = read.await?;
        if let Some(answer) = &found {
            self.keep(changes, asked, answer.clone());
        }
        Ok(found)
    }

    fn keep(&self, changes: u64, asked: K, answer: V) {
        let mut state = self.at(changes);
        // Others have seen a later change: this may be from before it.
        if state.changes != changes {
            return;
        }
        if state.answers.len() >= self.limit {
            state.answers.clear();
        }
        state.answers.insert(asked, answer);
    }

    /// What is at hand, without all that is from before this count. What is from after it
    /// is as good.
    fn at(&self, changes: u64) -> MutexGuard<'_, State<K, V>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.changes < changes {
            state.changes = changes;
            state.answers.clear();
        }
        state
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{Error, ErrorKind};

    /// Counts how often it was asked, and answers that.
    #[derive(Default)]
    struct Asked(AtomicU64);

    impl Asked {
        async fn read(&self) -> Result<Option<u64>> {
            Ok(Some(self.0.fetch_add(1, Ordering::Relaxed) + 1))
        }
    }

    #[tokio::test]
    async fn an_answer_holds_until_the_count_moves() {
        let (cache, asked) = (Cache::new(8), Asked::default());
        for (changes, expected) in [(0, 1), (0, 1), (1, 2), (1, 2), (3, 3)] {
            assert_eq!(cache.get(Some(changes), "a", asked.read()).await.unwrap(), Some(expected));
        }
    }

    #[tokio::test]
    async fn without_a_count_nothing_is_kept() {
        let (cache, asked) = (Cache::new(8), Asked::default());
        for expected in 1..4 {
            assert_eq!(cache.get(None, "a", asked.read()).await.unwrap(), Some(expected));
        }
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept_after_it() {
        let (cache, asked) = (Cache::new(8), Asked::default());
        let slow = async {
            // While this is read, somebody else sees a later change.
            assert_eq!(cache.get(Some(1), "b", asked.read()).await.unwrap(), Some(1));
            asked.read().await
        };
        assert_eq!(cache.get(Some(0), "a", slow).await.unwrap(), Some(2));
        assert_eq!(cache.get(Some(1), "a", asked.read()).await.unwrap(), Some(3));
    }

    #[tokio::test]
    async fn nothing_and_errors_are_not_kept() {
        let cache = Cache::new(8);
        assert_eq!(cache.get(Some(0), "a", async { Ok(None) }).await.unwrap(), None);
        let away = async { Err(Error::new(ErrorKind::Unavailable, "away")) };
        assert!(cache.get(Some(0), "a", away).await.is_err());
        assert_eq!(cache.get(Some(0), "a", async { Ok(Some(7)) }).await.unwrap(), Some(7));
    }

    #[tokio::test]
    async fn the_limit_holds() {
        let (cache, asked) = (Cache::new(8), Asked::default());
        for key in 0..100 {
            cache.get(Some(0), key, asked.read()).await.unwrap();
            assert!(cache.at(0).answers.len() <= 8);
        }
        assert_eq!(cache.get(Some(0), 99, asked.read()).await.unwrap(), Some(100));
    }
}
