use super::{Rollout, plan::Members};
use crate::RevisionNumber;

/// What decides which revision the agents of a workspace serve, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryRecord {
    /// The revision that made delivery staged; `None` while it is immediate.
    pub staged_since: Option<RevisionNumber>,
    /// The rollout that is running or paused.
    pub under_way: Option<Rollout>,
    /// The newest that was completed.
    pub completed: Option<Rollout>,
    /// Changes with each change of a rollout of the workspace.
    pub mark: RolloutMark,
}

/// The newest rollout of a workspace and its version: later ones are larger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolloutMark {
    /// The newest is the so manieth of its workspace; 0 when there was none.
    pub number: u64,
    /// See [`Rollout::version`].
    pub version: u64,
}

impl DeliveryRecord {
    /// The revision that agents are on which no rollout has reached; `None` while delivery is
    /// immediate.
    #[must_use]
    pub fn released(&self) -> Option<RevisionNumber> {
        let since = self.staged_since?;
        let completed = self.completed.as_ref().filter(|it| it.staged_since == since);
        Some(completed.map_or(since, |it| it.revision))
    }

    /// The rollout that decides what agents serve. One of a delivery that has ended does not.
    #[must_use]
    pub fn rollout(&self) -> Option<&Rollout> {
        self.under_way.as_ref().filter(|it| Some(it.staged_since) == self.staged_since)
    }

    /// The oldest revision that an agent is on or may be taken back to: it must be kept. Revision
    /// 0 is empty, and needs no keeping.
    #[must_use]
    pub fn oldest(&self) -> Option<RevisionNumber> {
        let under_way = self.under_way.as_ref().map(|it| it.revision);
        let on = self.released().filter(|it| it.0 > 0);
        on.into_iter().chain(under_way).min()
    }

    /// The agents that a rollout has reached, and the revision that they are on.
    pub(in crate::gateway) fn reached(&self) -> Option<(RevisionNumber, Members)> {
        self.rollout().map(|it| (it.revision, Members::of(it)))
    }
}
