//! When a figure is worth people's attention: pure.

use nxmesh_core::gateway::link::{HealthReport, Severity};

/// How many reports in a row a figure must be out of bounds before it is told of, so that a
/// short peak is not.
const LASTING: u32 = 3;
/// A figure that was told of must fall so far below its bound before it is told of again.
const SLACK: f64 = 5.0;

/// What is watched.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    nginx: Watched,
    cpu: Watched,
    memory: Watched,
    disk: Watched,
}

/// What nginx is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// To run, once it was given something to serve.
    ToRun,
    /// To be started by somebody else, in any case.
    ToBeStarted,
}

/// Something that is wrong since the report before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trouble {
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) metric: Option<&'static str>,
    pub(super) value: Option<f64>,
}

#[derive(Debug, Default)]
struct Watched {
    /// How many reports in a row it was out of bounds.
    count: u32,
    told: bool,
}

impl Alerts {
    /// What is wrong, and was not told yet.
    pub(super) fn look(&mut self, report: &HealthReport, meant: Meant) -> Vec<Trouble> {
        let HealthReport { nginx, system, .. } = report;
        let mut found = Vec::new();
        // nginx is meant to run once it was given something to serve.
        let nothing = report.config_checksum.is_empty() && meant == Meant::ToRun;
        let down = !nginx.is_running && !nothing;
        if self.nginx.tells(down, !down, 1) {
            found.push(Trouble {
                severity: Severity::Critical,
                message: match meant {
                    Meant::ToRun => "nginx is not running".to_owned(),
                    Meant::ToBeStarted => {
                        "nginx is not running, and this agent is attached: somebody else has to start it".to_owned()
                    }
                },
                metric: None,
                value: None,
            });
        }
        let memory = percent(system.memory_used_bytes, system.memory_total_bytes);
        let disk = percent(system.disk_used_bytes, system.disk_total_bytes);
        for (watched, metric, name, value, bound, severity) in [
            (
                &mut self.cpu,
                "cpu_percent",
                "CPU",
                system.cpu_percent.into(),
                90.0,
                Severity::Warning,
            ),
            (&mut self.memory, "memory_percent", "memory", memory, 95.0, Severity::Warning),
            (&mut self.disk, "disk_percent", "disk", disk, 95.0, Severity::Error),
        ] {
            if watched.tells(value >= bound, value < bound - SLACK, LASTING) {
                found.push(Trouble {
                    severity,
                    message: format!("High {name} usage: {value:.0}%"),
                    metric: Some(metric),
                    value: Some((value * 10.0).round() / 10.0),
                });
            }
        }
        found
    }
}

impl Watched {
    /// Whether it is to be told of now.
    fn tells(&mut self, bad: bool, good: bool, lasting: u32) -> bool {
        self.count = if bad { self.count.saturating_add(1) } else { 0 };
        if good {
            self.told = false;
        }
        let tells = !self.told && self.count >= lasting;
        self.told |= tells;
        tells
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more digits")]
    let (part, whole) = (part as f64, whole as f64);
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cpu: f32, running: bool) -> HealthReport {
        let mut report = HealthReport { config_checksum: "abc".into(), ..HealthReport::default() };
        report.system.cpu_percent = cpu;
        report.nginx.is_running = running;
        report
    }

    fn messages(alerts: &mut Alerts, cpu: f32, running: bool) -> Vec<String> {
        alerts.look(&report(cpu, running), Meant::ToRun).into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn a_figure_is_told_of_once_when_it_lasts_and_again_after_it_was_well() {
        let mut alerts = Alerts::default();
        for cpu in [99.0, 99.0, 50.0, 99.0, 99.0] {
            assert!(messages(&mut alerts, cpu, true).is_empty(), "a peak");
        }
        assert_eq!(messages(&mut alerts, 90.0, true), ["High CPU usage: 90%"]);
        for cpu in [99.0, 88.0, 99.0, 99.0, 99.0, 99.0] {
            assert!(messages(&mut alerts, cpu, true).is_empty(), "it was never well");
        }
        messages(&mut alerts, 84.9, true);
        let told: Vec<_> = (0..4).flat_map(|_| messages(&mut alerts, 95.4, true)).collect();
        assert_eq!(told, ["High CPU usage: 95%"]);
    }

    #[test]
    fn an_nginx_that_died_is_told_of_at_once() {
        let mut alerts = Alerts::default();
        assert!(messages(&mut alerts, 0.0, true).is_empty());
        assert_eq!(messages(&mut alerts, 0.0, false), ["nginx is not running"]);
        assert!(messages(&mut alerts, 0.0, false).is_empty());
        messages(&mut alerts, 0.0, true);
        assert_eq!(messages(&mut alerts, 0.0, false), ["nginx is not running"]);
        let nothing_to_serve = HealthReport::default();
        assert!(Alerts::default().look(&nothing_to_serve, Meant::ToRun).is_empty());
        let told = Alerts::default().look(&nothing_to_serve, Meant::ToBeStarted);
        assert!(told[0].message.contains("somebody else has to start it"), "{told:?}");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut alerts = Alerts::default();
        let mut report = report(0.0, true);
        (report.system.disk_used_bytes, report.system.disk_total_bytes) = (96, 100);
        let told: Vec<_> = (0..3).flat_map(|_| alerts.look(&report, Meant::ToRun)).collect();
        let [trouble] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (trouble.severity, trouble.metric, trouble.value),
            (Severity::Error, Some("disk_percent"), Some(96.0))
        );
    }
}
