//! Whether a connected agent has been behind for too long: pure, told the time.

use std::time::Duration;

use tokio::time::Instant;

/// For how long an agent may be behind until those who watch are told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Since when an agent is behind, and whether that was told.
#[derive(Debug)]
pub(crate) struct Lag {
    since: Option<Instant>,
    told: bool,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// It has been behind for too long.
    Lagging,
    /// It has caught up after that; so long it was behind on this connection.
    Converged(Duration),
}

impl Lag {
    /// An agent that connects, of which was told that it is behind, or not. How long it was away does
    /// not count: it gets as long as any other to catch up.
    pub(crate) fn new(told: bool, now: Instant) -> Self {
        Self { since: told.then_some(now), told }
    }

    /// Whether it is behind now. What is to be told of that, once.
    pub(crate) fn look(&mut self, behind: bool, now: Instant) -> Option<Tell> {
        if behind {
            let since = *self.since.get_or_insert(now);
            let late = !self.told && now >= since + PATIENCE;
            self.told |= late;
            return late.then_some(Tell::Lagging);
        }
        let since = self.since.take()?;
        std::mem::take(&mut self.told).then(|| Tell::Converged(now.duration_since(since)))
    }

    /// When to look again, should nothing happen.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.filter(|_| !self.told).map(|since| since + PATIENCE)
    }

    /// Since when it is behind.
    pub(crate) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether it was told that it is.
    pub(crate) const fn told(&self) -> bool {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_told_once_when_it_lasts_and_once_when_it_is_over() {
        let begin = Instant::now();
        let mut lag = Lag::new(false, begin);
        assert_eq!((lag.look(true, begin), lag.due()), (None, Some(begin + PATIENCE)));
        assert_eq!(lag.look(true, begin + PATIENCE - SECOND), None);
        assert_eq!(lag.look(true, begin + PATIENCE), Some(Tell::Lagging));
        assert_eq!((lag.look(true, begin + PATIENCE * 2), lag.due()), (None, None));
        let over = lag.look(false, begin + PATIENCE * 3);
        assert_eq!(over, Some(Tell::Converged(PATIENCE * 3)));
        assert_eq!(lag.look(false, begin + PATIENCE * 4), None);
    }

    #[test]
    fn who_catches_up_in_time_is_not_talked_of() {
        let begin = Instant::now();
        let mut lag = Lag::new(false, begin);
        lag.look(true, begin);
        assert_eq!(lag.look(false, begin + SECOND), None);
        assert_eq!(lag.look(true, begin + PATIENCE), None, "it counts from the start again");
    }

    #[test]
    fn a_new_connection_goes_on_with_what_was_told_on_the_old_one() {
        let begin = Instant::now() + PATIENCE;
        let mut lag = Lag::new(true, begin);
        assert_eq!(lag.look(true, begin + PATIENCE), None);
        let over = lag.look(false, begin + PATIENCE);
        assert_eq!(over, Some(Tell::Converged(PATIENCE)));
        let mut lag = Lag::new(false, begin);
        assert_eq!(lag.look(true, begin + PATIENCE * 9), None, "it has just come");
    }
}
