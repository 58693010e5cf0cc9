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
    /// It has caught up after that; so long it was behind.
    Converged(Duration),
}

impl Lag {
    /// An agent that has been behind for so long, if it was when it was seen last.
    pub(crate) fn new(behind_for: Option<Duration>, told: bool, now: Instant) -> Self {
        // Nobody was behind before this machine was started.
        let since = behind_for.map(|it| now.checked_sub(it).unwrap_or(now));
        Self { since, told: told && since.is_some() }
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
        let mut lag = Lag::new(None, false, begin);
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
        let mut lag = Lag::new(None, false, begin);
        lag.look(true, begin);
        assert_eq!(lag.look(false, begin + SECOND), None);
        assert_eq!(lag.look(true, begin + PATIENCE), None, "it counts from the start again");
    }

    #[test]
    fn a_new_connection_goes_on_with_what_was_told_on_the_old_one() {
        let begin = Instant::now() + PATIENCE;
        let mut lag = Lag::new(Some(SECOND), true, begin);
        assert_eq!(lag.look(true, begin + PATIENCE), None);
        assert!(matches!(lag.look(false, begin + PATIENCE), Some(Tell::Converged(_))));
        let mut lag = Lag::new(None, true, begin);
        assert_eq!((lag.look(false, begin), lag.told()), (None, false));
    }
}
