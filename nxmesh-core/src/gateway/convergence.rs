//! When to send what to one agent: pure, told the time.

pub(crate) mod lag;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    RevisionNumber,
    gateway::{
        ConfigUpdate,
        drift::DriftPolicy,
        link::{ApplyStatus, ConfigStatus},
    },
};

/// Changes that come closer together than this reach the agent as one.
pub(crate) const FOLD: Duration = Duration::from_millis(50);
/// An update that the agent did not settle for so long is sent again.
pub(crate) const UNCONFIRMED: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What one agent should serve, what it was sent, and what it is proven to serve.
#[derive(Debug, Default)]
pub(crate) struct Convergence {
    desired: Option<Arc<ConfigUpdate>>,
    verified: String,
    /// The revision that this was first seen in.
    verified_revision: RevisionNumber,
    in_flight: Option<InFlight>,
    last_sent: Option<Instant>,
    failures: u32,
    /// The last answer was a refusal: even what is verified is sent once more, so
    /// that the agent itself says that all is well.
    doubtful: bool,
    not_before: Option<Instant>,
    /// What it says it does about drift; `None` from those that do not tell.
    follows: Option<DriftPolicy>,
    /// Until when its host keeps what is there.
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct InFlight {
    update: Arc<ConfigUpdate>,
    sent: Instant,
}

/// What to do now.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Send this; it counts as sent.
    Send(Arc<ConfigUpdate>),
    /// Ask again then, or when something happens.
    WaitUntil(Instant),
    /// All is well until something happens.
    Rest,
}

impl Convergence {
    /// An agent that serves what this checksum names, and whose last answer was a
    /// refusal, or not.
    pub(crate) fn new(
        verified: String,
        verified_revision: RevisionNumber,
        last: Option<ApplyStatus>,
    ) -> Self {
        let doubtful = matches!(last, Some(ApplyStatus::Failed | ApplyStatus::RolledBack));
        Self { verified, verified_revision, doubtful, ..Self::default() }
    }

    /// By how many revisions what it is proven to serve is behind what it should; `None` when it
    /// serves that, in whichever revision.
    pub(crate) fn behind(&self) -> Option<u64> {
        let desired = self.desired.as_ref().filter(|it| it.checksum != self.verified)?;
        Some(desired.version.0.saturating_sub(self.verified_revision.0).max(1))
    }

    /// This is what it should serve from now on.
    pub(crate) fn want(&mut self, update: Arc<ConfigUpdate>) {
        let same = self.desired.as_ref().is_some_and(|it| it.checksum == update.checksum);
        if !same {
            self.failures = 0;
            self.not_before = None;
        }
        self.desired = Some(update);
    }

    /// What to do now. One update is under way at a time: the agent works on one
    /// at a time, and whatever changes meanwhile goes out as one when it is done.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if let Some(flying) = &self.in_flight {
            let overdue = flying.sent + UNCONFIRMED;
            if now < overdue {
                return Next::WaitUntil(overdue);
            }
            self.in_flight = None;
        }
        let Some(desired) = self.desired.clone() else { return Next::Rest };
        let follows = self.follows.is_none_or(|it| it == desired.drift);
        if desired.checksum == self.verified && !self.doubtful && follows {
            return Next::Rest;
        }
        if let Some(held) = self.held_until.filter(|it| follows && now < *it) {
            return Next::WaitUntil(held);
        }
        let folded = self.last_sent.map(|sent| sent + FOLD);
        let due = folded.max(self.not_before).unwrap_or(now);
        if now < due {
            return Next::WaitUntil(due);
        }
        self.not_before = None;
        self.last_sent = Some(now);
        self.in_flight = Some(InFlight { update: Arc::clone(&desired), sent: now });
        Next::Send(desired)
    }

    /// This update, if it is the one under way or the one that should be served.
    pub(crate) fn known(&self, config_id: &str) -> Option<&Arc<ConfigUpdate>> {
        let flying = self.in_flight.as_ref().map(|it| &it.update);
        flying.into_iter().chain(&self.desired).find(|it| it.config_id == config_id)
    }

    /// How often in a row what it should serve was refused.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// When what was refused is sent again, if that waits.
    pub(crate) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// How long ago this update was sent, if it is the one under way.
    pub(crate) fn under_way(&self, config_id: &str, now: Instant) -> Option<Duration> {
        let flying = self.in_flight.as_ref().filter(|it| it.update.config_id == config_id);
        flying.map(|it| now.duration_since(it.sent))
    }

    /// What became of an update. `jitter` is from 0 to 1.
    pub(crate) fn settled(&mut self, status: &ConfigStatus, now: Instant, jitter: f64) {
        let Some(update) = self.known(&status.config_id).cloned() else { return };
        match status.status {
            ApplyStatus::Pending | ApplyStatus::Validating | ApplyStatus::Applying => return,
            ApplyStatus::Success => {
                self.followed(update.drift);
                self.doubtful = false;
                self.verified_revision = update.version;
                // A part may be held back: then it is tried again, as all that is refused.
                let whole = status.checksum.is_empty() || status.checksum == update.checksum;
                if whole {
                    self.verified.clone_from(&update.checksum);
                    self.failures = 0;
                    self.not_before = None;
                } else {
                    self.verified.clone_from(&status.checksum);
                    self.try_later(&update, now, jitter);
                }
            }
            ApplyStatus::Failed | ApplyStatus::RolledBack => {
                self.followed(update.drift);
                self.doubtful = true;
                self.try_later(&update, now, jitter);
            }
        }
        if self.in_flight.as_ref().is_some_and(|it| it.update.config_id == update.config_id) {
            self.in_flight = None;
        }
    }

    /// What was refused waits, longer each time, unless something else is wanted by now.
    fn try_later(&mut self, refused: &ConfigUpdate, now: Instant, jitter: f64) {
        if self.desired.as_ref().is_some_and(|it| it.checksum == refused.checksum) {
            self.not_before = Some(now + backoff(self.failures, jitter));
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// The content that the agent is proven to serve; empty when that is not known.
    pub(crate) fn verified(&self) -> &str {
        &self.verified
    }

    /// Its host keeps what is there until then: only what the agent should do about that is sent.
    pub(crate) const fn hold(&mut self, until: Option<Instant>) {
        self.held_until = until;
    }

    /// What the agent says it does about drift.
    pub(crate) const fn follows(&mut self, policy: Option<DriftPolicy>) {
        if self.in_flight.is_none() {
            self.follows = policy;
        }
    }

    /// An agent that answers has read what it should do about drift, if it knows of that.
    const fn followed(&mut self, policy: DriftPolicy) {
        if self.follows.is_some() {
            self.follows = Some(policy);
        }
    }

    /// What the agent says it is proven to serve. While an update is under way
    /// this may be out of date already.
    pub(crate) fn reported(&mut self, checksum: &str, revision: RevisionNumber) {
        if self.in_flight.is_none() {
            self.verified_revision = revision;
            checksum.clone_into(&mut self.verified);
        }
    }
}

/// 1 s, 2 s, 4 s ... 30 s, less up to a half.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let full = FIRST_RETRY.saturating_mul(1 << failures.min(5)).min(LAST_RETRY);
    full.mul_f64(1.0 - jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::gateway::Projection;

    fn update(version: u64) -> Arc<ConfigUpdate> {
        Arc::new(ConfigUpdate {
            config_id: format!("id{version}"),
            version: RevisionNumber(version),
            checksum: format!("sum{version}"),
            projection: Arc::new(Projection::default()),
            drift: DriftPolicy::default(),
        })
    }

    fn status(version: u64, status: ApplyStatus) -> ConfigStatus {
        ConfigStatus {
            config_id: format!("id{version}"),
            version: RevisionNumber(version),
            status,
            error_message: String::new(),
            applied_at: DateTime::UNIX_EPOCH,
            checksum: String::new(),
            quarantined: Vec::new(),
            quarantined_total: 0,
        }
    }

    #[test]
    fn what_is_verified_is_not_sent() {
        let mut it = Convergence::new("sum1".into(), RevisionNumber(1), None);
        it.want(update(1));
        assert_eq!(it.next(Instant::now()), Next::Rest);
    }

    #[test]
    fn an_agent_is_behind_until_it_has_proven_what_it_should_serve() {
        let now = Instant::now();
        let mut it = Convergence::new("sum1".into(), RevisionNumber(1), None);
        assert_eq!(it.behind(), None);
        it.want(update(4));
        assert_eq!((it.behind(), it.next(now)), (Some(3), Next::Send(update(4))));
        it.settled(&status(4, ApplyStatus::Failed), now, 0.0);
        assert_eq!(it.behind(), Some(3));
        it.settled(&status(4, ApplyStatus::Success), now, 0.0);
        assert_eq!(it.behind(), None);
        it.reported("edited by hand", RevisionNumber(4));
        assert_eq!(it.behind(), Some(1), "in the same revision, and still not it");
    }

    #[test]
    fn a_change_goes_out_at_once_and_the_next_ones_are_folded() {
        let now = Instant::now();
        let mut it = Convergence::new(String::new(), RevisionNumber(1), None);
        it.want(update(1));
        assert_eq!(it.next(now), Next::Send(update(1)));
        it.want(update(2));
        it.want(update(3));
        assert_eq!(it.next(now), Next::WaitUntil(now + UNCONFIRMED), "one is under way");
        it.settled(&status(1, ApplyStatus::Success), now, 0.0);
        assert_eq!(it.next(now), Next::WaitUntil(now + FOLD));
        assert_eq!(it.next(now + FOLD), Next::Send(update(3)));
    }

    #[test]
    fn a_failed_update_is_sent_again_for_ever_with_backoff() {
        let mut now = Instant::now();
        let mut it = Convergence::new(String::new(), RevisionNumber(1), None);
        it.want(update(1));
        for wait in [1, 2, 4, 8, 16, 30, 30, 30] {
            assert_eq!(it.next(now), Next::Send(update(1)));
            it.settled(&status(1, ApplyStatus::RolledBack), now, 0.0);
            let due = now + Duration::from_secs(wait);
            assert_eq!(it.next(now), Next::WaitUntil(due));
            now = due;
        }
    }

    #[test]
    fn what_is_served_in_part_is_sent_again_for_ever_with_backoff() {
        let mut now = Instant::now();
        let mut it = Convergence::new(String::new(), RevisionNumber(1), None);
        it.want(update(1));
        let part = ConfigStatus { checksum: "sum1-held".into(), ..status(1, ApplyStatus::Success) };
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(it.next(now), Next::Send(update(1)));
            it.settled(&part, now, 0.0);
            it.reported("sum1-held", RevisionNumber(1));
            assert_eq!((it.verified(), it.behind()), ("sum1-held", Some(1)));
            let due = now + Duration::from_secs(wait);
            assert_eq!(it.next(now), Next::WaitUntil(due));
            now = due;
        }
        it.want(update(2));
        assert_eq!(it.next(now), Next::Send(update(2)), "mended, it goes out at once");
        it.settled(&status(2, ApplyStatus::Success), now, 0.0);
        assert_eq!((it.next(now), it.behind()), (Next::Rest, None));
    }

    #[test]
    fn a_mended_configuration_does_not_wait_for_the_backoff() {
        let now = Instant::now();
        let mut it = Convergence::new(String::new(), RevisionNumber(1), None);
        it.want(update(1));
        it.next(now);
        it.settled(&status(1, ApplyStatus::Failed), now, 0.0);
        it.want(update(2));
        assert_eq!(it.next(now + FOLD), Next::Send(update(2)));
    }

    #[test]
    fn going_back_to_what_is_verified_is_confirmed_by_the_agent() {
        let now = Instant::now();
        let mut it = Convergence::new("sum1".into(), RevisionNumber(1), None);
        it.want(update(2));
        it.next(now);
        it.settled(&status(2, ApplyStatus::Failed), now, 0.0);
        it.want(update(1));
        assert_eq!(it.next(now + FOLD), Next::Send(update(1)));
        it.settled(&status(1, ApplyStatus::Success), now + FOLD, 0.0);
        assert_eq!(it.next(now + FOLD), Next::Rest);
    }

    #[test]
    fn an_unconfirmed_update_is_sent_again() {
        let now = Instant::now();
        let mut it = Convergence::new(String::new(), RevisionNumber(1), None);
        it.want(update(1));
        it.next(now);
        assert_eq!(it.next(now + UNCONFIRMED), Next::Send(update(1)));
    }

    #[test]
    fn the_answer_to_an_older_update_changes_nothing() {
        let now = Instant::now();
        let mut it = Convergence::new(String::new(), RevisionNumber(1), None);
        it.want(update(2));
        it.next(now);
        it.settled(&status(1, ApplyStatus::Success), now, 0.0);
        assert_eq!(it.next(now), Next::WaitUntil(now + UNCONFIRMED));
    }

    #[test]
    fn what_an_agent_does_about_drift_is_sent_once_and_only_to_those_who_know_of_it() {
        let now = Instant::now();
        let wanted = ConfigUpdate { drift: DriftPolicy::Report, ..update(1).as_ref().clone() };
        let mut it = Convergence::new("sum1".into(), RevisionNumber(1), None);
        it.want(Arc::new(wanted.clone()));
        assert_eq!(it.next(now), Next::Rest, "it did not say that it knows of it");
        it.follows(Some(DriftPolicy::Restore));
        assert_eq!(it.next(now), Next::Send(Arc::new(wanted)));
        it.settled(&status(1, ApplyStatus::Success), now, 0.0);
        assert_eq!(it.next(now), Next::Rest);
        it.follows(Some(DriftPolicy::Restore));
        assert!(matches!(it.next(now + FOLD), Next::Send(_)), "it lost it");
    }

    #[test]
    fn what_a_host_keeps_is_not_replaced_until_then() {
        let now = Instant::now();
        let until = now + Duration::from_secs(60);
        let mut it = Convergence::new("sum1".into(), RevisionNumber(1), None);
        it.follows(Some(DriftPolicy::Restore));
        it.hold(Some(until));
        it.want(update(2));
        assert_eq!(it.next(now), Next::WaitUntil(until));
        assert_eq!(it.behind(), Some(1));
        assert_eq!(it.next(until), Next::Send(update(2)));
    }

    #[test]
    fn an_agent_that_lost_its_configuration_gets_it_again() {
        let now = Instant::now();
        let mut it = Convergence::new("sum1".into(), RevisionNumber(1), None);
        it.want(update(1));
        it.reported("", RevisionNumber(0));
        assert_eq!(it.next(now), Next::Send(update(1)));
    }
}
