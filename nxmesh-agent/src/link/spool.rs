//! What is to be told, kept until somebody is there to hear it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use nxmesh_core::{
    Clock,
    gateway::{
        drift::DriftChange,
        link::{Alert, MAX_ALERTS, MAX_DRIFT_CHANGES, Severity},
    },
};
use tokio::sync::Notify;

use crate::gateway::Report;

/// How many messages are kept, and as many about drift, which are large, as one message takes; of more
/// the oldest are dropped, and counted.
pub(crate) const MAX_KEPT: usize = 1000;

/// Keeps in order what is to be told, each with the time when it happened.
#[derive(Debug)]
pub(crate) struct Spool {
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    waiting: VecDeque<(u64, Told)>,
    /// The number of what is to be sent next: what stands before it waits to be heard.
    unsent: u64,
    next_number: u64,
    dropped: u64,
    /// How many of those dropped were told of.
    told_dropped: u64,
}

/// Something to tell.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// What became of an update, and when.
    Report(Report, DateTime<Utc>),
    /// Something that people should look at.
    Alert(Alert),
    /// What became of drift.
    Drift(DriftChange),
}

/// What is told in one message.
#[derive(Debug)]
pub(crate) enum Batch {
    /// See [`Told::Report`].
    Report(Report, DateTime<Utc>),
    /// As many alerts as one message takes.
    Alerts(Vec<Alert>),
    /// As many changes as one message takes.
    Drift(Vec<DriftChange>),
}

/// Names the last of what was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt(u64);

impl Spool {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kept: Mutex::default(), arrived: Notify::new() }
    }

    /// Tells what became of an update.
    pub(crate) fn report(&self, report: Report) {
        self.tell(Told::Report(report, self.clock.now()));
    }

    /// Tells people of something that happened just now to what this names.
    pub(crate) fn alert(&self, about: &str, severity: Severity, message: String) {
        let timestamp = self.clock.now();
        let id = format!("{about}-{}", timestamp.timestamp_millis());
        self.tell(Told::Alert(Alert {
            id,
            severity,
            message,
            metric: None,
            value: None,
            timestamp,
        }));
    }

    pub(crate) fn tell(&self, told: Told) {
        self.kept().push(told);
        self.arrived.notify_one();
    }

    /// How many messages were dropped since the agent's start.
    pub(crate) fn dropped(&self) -> u64 {
        self.kept().dropped
    }

    /// Somebody is there: they are told all that was not heard, and, if something was dropped, that.
    pub(crate) fn connected(&self) {
        let lost = {
            let mut kept = self.kept();
            kept.unsent = 0;
            kept.take_lost()
        };
        if lost > 0 {
            let message = format!("{lost} messages of the agent were dropped while it was away");
            self.alert("spool", Severity::Warning, message);
        }
    }

    /// What to tell next, once there is something. It is the next until it was
    /// [`sent`](Self::sent), and kept until it was [`heard`](Self::heard).
    pub(crate) async fn next(&self) -> (Batch, Receipt) {
        loop {
            if let Some(next) = self.kept().first() {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    /// It is on its way.
    pub(crate) fn sent(&self, Receipt(last): Receipt) {
        self.kept().unsent = last + 1;
    }

    /// Forgets this, and all before it.
    pub(crate) fn heard(&self, Receipt(last): Receipt) {
        let mut kept = self.kept();
        while kept.waiting.front().is_some_and(|(number, _)| *number <= last) {
            kept.waiting.pop_front();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, told: Told) {
        self.make_room();
        if matches!(told, Told::Drift(_)) {
            self.make_room_for_drift();
        }
        self.waiting.push_back((self.next_number, told));
        self.next_number += 1;
    }

    fn make_room(&mut self) {
        if self.waiting.len() >= MAX_KEPT {
            self.waiting.pop_front();
            self.dropped += 1;
        }
    }

    fn make_room_for_drift(&mut self) {
        let is_drift = |(_, told): &(u64, Told)| matches!(told, Told::Drift(_));
        if self.waiting.iter().filter(|it| is_drift(it)).count() >= MAX_DRIFT_CHANGES {
            let oldest = self.waiting.iter().position(is_drift);
            oldest.map(|it| self.waiting.remove(it));
            self.dropped += 1;
        }
    }

    /// How many were dropped and nobody was told of. To tell of it takes the room of one more.
    fn take_lost(&mut self) -> u64 {
        if self.dropped > self.told_dropped {
            self.make_room();
        }
        let lost = self.dropped - self.told_dropped;
        self.told_dropped = self.dropped;
        lost
    }

    fn first(&self) -> Option<(Batch, Receipt)> {
        let sent = self.waiting.partition_point(|(number, _)| *number < self.unsent);
        let mut next = self.waiting.range(sent..);
        match next.clone().next()? {
            (number, Told::Report(report, at)) => {
                Some((Batch::Report(report.clone(), *at), Receipt(*number)))
            }
            (_, Told::Alert(_)) => {
                together(&mut next, MAX_ALERTS, Batch::Alerts, |told| match told {
                    Told::Alert(alert) => Some(alert),
                    Told::Report(..) | Told::Drift(_) => None,
                })
            }
            (_, Told::Drift(_)) => {
                together(&mut next, MAX_DRIFT_CHANGES, Batch::Drift, |told| match told {
                    Told::Drift(change) => Some(change),
                    Told::Report(..) | Told::Alert(_) => None,
                })
            }
        }
    }
}

/// What comes next of one sort, as much as one message takes.
fn together<'a, T: Clone + 'a>(
    next: &mut dyn Iterator<Item = &'a (u64, Told)>,
    most: usize,
    batch: impl FnOnce(Vec<T>) -> Batch,
    is_one: impl Fn(&'a Told) -> Option<&'a T>,
) -> Option<(Batch, Receipt)> {
    let of_them = next.map_while(|(number, told)| Some((*number, is_one(told)?.clone())));
    let (numbers, of_them): (Vec<_>, Vec<_>) = of_them.take(most).unzip();
    Some((batch(of_them), Receipt(*numbers.last()?)))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use nxmesh_core::{
        ManualClock,
        gateway::{
            drift::{DriftEnd, DriftEnded},
            link::ApplyStatus,
        },
    };

    use super::*;

    fn spool() -> Spool {
        Spool::new(Arc::new(ManualClock::new(DateTime::UNIX_EPOCH)))
    }

    fn report(spool: &Spool) {
        let (identity, status) = (Default::default(), ApplyStatus::Success);
        spool.report(Report {
            identity,
            status,
            error_message: String::new(),
            checksum: String::new(),
            quarantined: Vec::new(),
            quarantined_total: 0,
        });
    }

    /// All that is told now, a text for each message.
    fn all(spool: &Spool) -> Vec<String> {
        let mut told = Vec::new();
        while let Some((batch, receipt)) = spool.next().now_or_never() {
            told.push(match batch {
                Batch::Report(report, _) => format!("{:?}", report.status),
                Batch::Alerts(alerts) => {
                    let texts: Vec<_> = alerts.into_iter().map(|it| it.message).collect();
                    texts.join(",")
                }
                Batch::Drift(changes) => format!("{} of drift", changes.len()),
            });
            spool.sent(receipt);
            spool.heard(receipt);
        }
        told
    }

    #[test]
    fn messages_come_in_order_and_alerts_together() {
        let spool = spool();
        let alert = |text: String| spool.alert("a", Severity::Info, text);
        (0..2).for_each(|it| alert(it.to_string()));
        report(&spool);
        (0..=MAX_ALERTS).for_each(|it| alert(it.to_string()));
        let many: Vec<_> = (0..MAX_ALERTS).map(|it| it.to_string()).collect();
        assert_eq!(all(&spool), ["0,1", "Success", &many.join(","), "16"]);
        assert!(spool.next().now_or_never().is_none());
    }

    #[test]
    fn what_was_not_heard_is_told_again() {
        let spool = spool();
        report(&spool);
        let (_, first) = spool.next().now_or_never().unwrap();
        spool.sent(first);
        spool.alert("a", Severity::Info, "late".to_owned());
        let (batch, late) = spool.next().now_or_never().unwrap();
        assert!(matches!(batch, Batch::Alerts(_)), "each once on a connection");
        spool.sent(late);
        assert!(spool.next().now_or_never().is_none());
        spool.heard(first);
        spool.connected();
        assert_eq!(all(&spool), ["late"]);
        spool.connected();
        assert!(spool.next().now_or_never().is_none());
    }

    #[test]
    fn of_too_many_messages_the_oldest_are_dropped_and_that_is_told_once() {
        let spool = spool();
        for number in 0..MAX_KEPT {
            spool.alert("a", Severity::Info, number.to_string());
        }
        assert_eq!(spool.dropped(), 0, "they fit");
        spool.connected();
        let (_, sending) = spool.next().now_or_never().unwrap();
        spool.sent(sending);
        for _ in 0..20 {
            report(&spool);
        }
        assert_eq!(spool.dropped(), 20);
        // What was being sent is among what was dropped.
        spool.heard(sending);
        spool.connected();
        spool.connected();
        let told = all(&spool);
        assert!(told[0].starts_with("21,22,"), "{}", told[0]);
        let last = told.last().map(String::as_str);
        assert_eq!(last, Some("21 messages of the agent were dropped while it was away"));
        assert_eq!(told.iter().filter(|it| it.contains("dropped")).count(), 1);
    }

    #[test]
    fn of_drift_no_more_is_kept_than_one_message_takes() {
        let spool = spool();
        let ended = DriftEnded { at: DateTime::UNIX_EPOCH, by: DriftEnd::Hand };
        let drift = || spool.tell(Told::Drift(DriftChange::Ended(ended.clone())));
        drift();
        report(&spool);
        (0..MAX_DRIFT_CHANGES).for_each(|_| drift());
        assert_eq!(spool.dropped(), 1);
        let most = format!("{MAX_DRIFT_CHANGES} of drift");
        assert_eq!(all(&spool), ["Success", most.as_str()]);
    }
}
