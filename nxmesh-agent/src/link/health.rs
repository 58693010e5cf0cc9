//! How agent and nginx are doing.

use std::{path::Path, time::Instant};

use nxmesh_core::{
    Clock,
    gateway::link::{Alert, HealthReport, NginxStatus, SystemMetrics},
};
use sysinfo::{MemoryRefreshKind, System};

use super::alerts::{Alerts, Meant, Trouble};
use crate::gateway::{Counters, Running};

/// Makes reports; some figures are differences to the one before.
pub(super) struct Health {
    /// `None` where the machine does not tell.
    system: Option<System>,
    last: Option<(Instant, u64)>,
    alerts: Alerts,
}

impl Health {
    pub(super) fn new() -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            // Load is a difference: this is where the first one begins.
            system.refresh_cpu_usage();
        }
        Self { system, last: None, alerts: Alerts::default() }
    }

    /// How they are now, and what is wrong and was not told yet.
    pub(super) fn report(
        &mut self,
        running: Running,
        state_dir: &Path,
        clock: &dyn Clock,
    ) -> (HealthReport, Vec<Alert>) {
        let meant = if running.attached { Meant::ToBeStarted } else { Meant::ToRun };
        let report = self.figures(running, state_dir);
        let alerts = self.alerts.look(&report, meant);
        let alerts = alerts.into_iter().map(|it| alert(it, clock)).collect();
        (report, alerts)
    }

    fn figures(&mut self, running: Running, state_dir: &Path) -> HealthReport {
        let Running {
            verified,
            folder: _,
            pid,
            uptime_seconds,
            counters,
            draining_workers,
            attached: _,
        } = running;
        let requests_per_second = counters.map_or(0.0, |it| self.rate(it));
        let counters = counters.unwrap_or_default();
        HealthReport {
            nginx: NginxStatus {
                is_running: pid.is_some(),
                pid: pid.and_then(|it| u32::try_from(it).ok()).unwrap_or_default(),
                uptime_seconds,
                active_connections: counters.active_connections,
                total_requests: counters.total_requests,
                requests_per_second,
            },
            system: self.system(state_dir),
            config_checksum: verified.checksum,
            config_version: verified.version,
            draining_workers: u32::try_from(draining_workers).unwrap_or(u32::MAX),
            ..HealthReport::default()
        }
    }

    /// Requests a second since the report before; 0 in the first, and after a restart of nginx.
    fn rate(&mut self, counters: Counters) -> f32 {
        let now = Instant::now();
        let before = self.last.replace((now, counters.total_requests));
        let Some((then, requests)) = before else { return 0.0 };
        let seconds = now.duration_since(then).as_secs_f32().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let more = counters.total_requests.saturating_sub(requests) as f32;
        more / seconds
    }

    fn system(&mut self, state_dir: &Path) -> SystemMetrics {
        let disk = rustix::fs::statvfs(state_dir);
        let disk_total_bytes = disk.as_ref().map_or(0, |it| it.f_blocks * it.f_frsize);
        let disk_free_bytes = disk.as_ref().map_or(0, |it| it.f_bavail * it.f_frsize);
        let disk_used_bytes = disk_total_bytes.saturating_sub(disk_free_bytes);
        let Some(system) = &mut self.system else {
            return SystemMetrics { disk_used_bytes, disk_total_bytes, ..SystemMetrics::default() };
        };
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        #[expect(clippy::cast_possible_truncation, reason = "a load average has few digits")]
        let load_average_1m = System::load_average().map_or(0.0, |it| it.one as f32);
        SystemMetrics {
            cpu_percent: system.global_cpu_usage(),
            memory_used_bytes: system.used_memory(),
            memory_total_bytes: system.total_memory(),
            disk_used_bytes,
            disk_total_bytes,
            load_average_1m,
        }
    }
}

fn alert(trouble: Trouble, clock: &dyn Clock) -> Alert {
    let timestamp = clock.now();
    let Trouble { severity, message, metric, value } = trouble;
    // One of a sort at a time.
    let id = format!("{}-{}", metric.unwrap_or("nginx"), timestamp.timestamp_millis());
    Alert { id, severity, message, metric: metric.map(str::to_owned), value, timestamp }
}
