//! Looking how agent and nginx are doing, whether somebody hears of it or not.

use std::{sync::Arc, time::Duration};

use nxmesh_core::{Clock, gateway::link::HealthReport};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Spool, health::Health, spool::Told};
use crate::{
    StateDir,
    gateway::{Checks, EngineHandle, Nginx, TrafficCounter},
};

/// How often to look before a control plane has said how often it wants to hear of it.
const USUAL: Duration = Duration::from_secs(10);

/// Makes reports, and tells of what is wrong.
pub(super) struct Pulse {
    pub(super) dir: Arc<StateDir>,
    pub(super) engine: Arc<EngineHandle>,
    pub(super) checks: Checks,
    pub(super) spool: Arc<Spool>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) traffic: TrafficCounter,
    health: Health,
    reports: watch::Sender<HealthReport>,
    /// Of which content the virtual hosts are known.
    followed: Option<String>,
}

/// The reports, for whoever sends them.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) newest: watch::Receiver<HealthReport>,
    interval: watch::Sender<Duration>,
}

impl Reports {
    /// Has a report made now, and from now on so often.
    pub(super) fn every(&mut self, interval: Duration) {
        // What was reported before is old.
        self.newest.mark_unchanged();
        self.interval.send_replace(interval);
    }
}

impl Pulse {
    pub(super) fn new(
        dir: Arc<StateDir>,
        nginx: Nginx,
        engine: Arc<EngineHandle>,
        checks: Checks,
        spool: Arc<Spool>,
        clock: Arc<dyn Clock>,
    ) -> (Self, Reports, watch::Receiver<Duration>) {
        let (reports, newest) = watch::channel(HealthReport::default());
        let (interval, wanted) = watch::channel(USUAL);
        let traffic = TrafficCounter::begin(nginx);
        let health = Health::new();
        let pulse =
            Self { dir, engine, checks, spool, clock, traffic, health, reports, followed: None };
        (pulse, Reports { newest, interval }, wanted)
    }

    /// Looks until it is told to stop.
    pub(super) async fn run(
        mut self,
        mut interval: watch::Receiver<Duration>,
        stopping: CancellationToken,
    ) {
        loop {
            let mut beat = tokio::time::interval(*interval.borrow_and_update());
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    changed = interval.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    _ = beat.tick() => self.look().await,
                }
            }
        }
    }

    async fn look(&mut self) {
        let running = self.engine.running().await;
        if self.followed.as_ref() != Some(&running.verified.checksum)
            && let Some(served) = self.engine.served_content().await
        {
            self.traffic.follow(&served);
            self.followed = Some(running.verified.checksum.clone());
        }
        let traffic = self.traffic.look(running.counters);
        let (mut report, alerts) =
            self.health.report(running, self.dir.root(), self.clock.as_ref());
        alerts.into_iter().for_each(|it| self.spool.tell(Told::Alert(it)));
        report.checks = self.checks.report();
        report.traffic = traffic;
        report.messages_dropped = self.spool.dropped();
        self.reports.send_replace(report);
    }
}
