//! What reports mean for what is known of an agent: pure.

use chrono::{DateTime, Utc};

use crate::{
    RevisionNumber,
    gateway::{
        AgentHealth, AgentStatus, ConfigState, ConfigUpdate, ConfigVersion, FailedApply, LastApply,
        MAX_QUARANTINED, NginxState, Quarantined,
        drift::{DriftReport, DriftedFile, MAX_DRIFTED_FILES},
        link::{ApplyStatus, ConfigStatus, HealthReport, Registration},
    },
};

/// How much of what an apply failed for is kept, in characters.
const MAX_ERROR: usize = 8192;

/// It is connected, and introduced itself.
pub(in crate::gateway) fn note_registration(
    status: &mut AgentStatus,
    registration: Registration,
    now: DateTime<Utc>,
) {
    let Registration {
        token: _,
        hostname,
        ip_address,
        version,
        capabilities,
        // Labels are what callers decide; those an agent suggests are not taken.
        labels: _,
        deployment_mode,
        config_checksum,
        config_version,
        nginx_version,
    } = registration;
    status.connected = true;
    status.last_seen_at = Some(now);
    status.hostname = hostname;
    status.ip_address = ip_address;
    status.version = version;
    status.capabilities = capabilities;
    status.deployment_mode = deployment_mode;
    status.nginx_version = nginx_version;
    note_content(status, config_version, &config_checksum, now);
}

/// It is proven to serve this. What an agent holds back no more it may have told somebody who died.
fn note_content(
    status: &mut AgentStatus,
    version: RevisionNumber,
    checksum: &str,
    now: DateTime<Utc>,
) {
    status.serves(serving(version, checksum), now);
    if !checksum.is_empty() && ConfigUpdate::whole_of(checksum) == checksum {
        status.quarantined.clear();
        status.quarantined_total = 0;
    }
}

/// It reported how it is doing.
pub(in crate::gateway) fn note_health(
    status: &mut AgentStatus,
    report: &HealthReport,
    now: DateTime<Utc>,
) {
    status.last_seen_at = Some(now);
    status.reports(AgentHealth {
        nginx_status: if report.nginx.is_running {
            NginxState::Running
        } else {
            NginxState::Stopped
        },
        nginx_uptime_seconds: report.nginx.uptime_seconds,
        active_connections: report.nginx.active_connections,
        requests_per_second: report.nginx.requests_per_second,
        cpu_percent: report.system.cpu_percent,
        memory_used_mb: report.system.memory_used_bytes / (1024 * 1024),
        config_version: report.config_version,
        draining_workers: report.draining_workers,
        requests: report.traffic.requests,
        responses_5xx: report.traffic.failed,
        messages_dropped: report.messages_dropped,
    });
    status.drift = report.drift.as_ref().map(|it| DriftReport {
        files: it.files.iter().take(MAX_DRIFTED_FILES).map(DriftedFile::named).collect(),
        ..it.clone()
    });
    status.checks = report.checks.clone().cut();
    status.traffic.clone_from(&report.traffic);
    note_content(status, report.config_version, &report.config_checksum, now);
}

/// It told how far it has come with this update.
pub(in crate::gateway) fn note_progress(
    status: &mut AgentStatus,
    report: &ConfigStatus,
    update: &ConfigUpdate,
    now: DateTime<Utc>,
) {
    let delivered = &mut status.delivered;
    let same = |it: &ConfigState| it.revision == update.version && it.checksum == update.checksum;
    let again = report.status == ApplyStatus::Pending;
    if again || !delivered.acknowledged.as_ref().is_some_and(same) {
        delivered.acknowledged = Some(ConfigState::of(update, now));
    }
    // What it leaves as it is on purpose it has not failed.
    if update.drift.held_until(now).is_some() {
        return;
    }
    let held = |it: &&Quarantined| status.quarantined.iter().any(|was| was.is_same_object(it));
    let held_anew = report.quarantined.iter().find(|it| !held(it));
    let error = match (report.status, held_anew) {
        (ApplyStatus::Failed | ApplyStatus::RolledBack, _) => &report.error_message,
        (ApplyStatus::Success, Some(first)) => &first.error,
        (ApplyStatus::Success, None)
        | (ApplyStatus::Pending | ApplyStatus::Validating | ApplyStatus::Applying, _) => return,
    };
    status.delivered.failed = Some(FailedApply::new(ConfigState::of(update, now), error));
}

/// It told what became of a configuration, and so is proven to serve the content with this
/// checksum. Whether that was final, and so worth writing down.
pub(in crate::gateway) fn note_apply(
    status: &mut AgentStatus,
    report: &ConfigStatus,
    verified: &str,
    now: DateTime<Utc>,
) -> bool {
    status.last_seen_at = Some(now);
    match report.status {
        ApplyStatus::Pending | ApplyStatus::Validating | ApplyStatus::Applying => return false,
        ApplyStatus::Success => {
            if let Some(health) = &mut status.health {
                health.config_version = report.version;
            }
            // An update that this server did not send has a checksum it does not know: the
            // next report says it.
            if report.config_id == ConfigUpdate::id(report.version, verified) {
                status.serves(serving(report.version, verified), now);
            }
            let told = report.quarantined.iter().take(MAX_QUARANTINED).cloned();
            status.quarantined = told.map(Quarantined::cut).collect();
            status.quarantined_total = report.quarantined_total;
        }
        ApplyStatus::Failed | ApplyStatus::RolledBack => {}
    }
    let settled = LastApply {
        config_id: report.config_id.clone(),
        version: report.version,
        status: report.status,
        error_message: report.error_message.chars().take(MAX_ERROR).collect(),
        at: report.applied_at,
    };
    // An agent that does not know whether it was heard says it again.
    let news = status.last_apply.as_ref() != Some(&settled);
    status.last_apply = Some(settled);
    news
}

/// Whether the last apply came to what the one before did, with a part held back.
pub(in crate::gateway) fn is_repeated(before: &AgentStatus, after: &AgentStatus) -> bool {
    let settled = |it: &AgentStatus| {
        it.last_apply
            .as_ref()
            .map(|it| (it.config_id.clone(), it.status))
            .filter(|it| it.1 == ApplyStatus::Success)
    };
    after.quarantined_total > 0
        && settled(before) == settled(after)
        && before.quarantined_total == after.quarantined_total
        && before.quarantined == after.quarantined
}

fn serving(version: RevisionNumber, checksum: &str) -> Option<ConfigVersion> {
    (!checksum.is_empty()).then(|| ConfigVersion { version, checksum: checksum.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ServedKind;

    #[test]
    fn what_was_held_back_before_is_no_new_failure() {
        let now = DateTime::UNIX_EPOCH;
        let mut status = AgentStatus::default();
        let update = ConfigUpdate {
            config_id: "7-a".into(),
            version: RevisionNumber(7),
            checksum: "a".into(),
            projection: Default::default(),
            drift: Default::default(),
        };
        let held = |id| Quarantined {
            kind: ServedKind::VirtualHost,
            id,
            name: "shop".into(),
            field: String::new(),
            error: "no".into(),
            running_revision: None,
        };
        let (one, two) = (held(uuid::Uuid::from_u128(1)), held(uuid::Uuid::from_u128(2)));
        let mut note = |quarantined: &[Quarantined]| {
            let report = ConfigStatus {
                checksum: update.checksum_without("held"),
                quarantined: quarantined.to_vec(),
                quarantined_total: u32::try_from(quarantined.len()).unwrap(),
                ..ConfigStatus::of(&update, ApplyStatus::Success, now)
            };
            status.delivered.failed = None;
            note_progress(&mut status, &report, &update, now);
            note_apply(&mut status, &report, &report.checksum, now);
            status.delivered.failed.clone().map(|it| it.error)
        };
        assert_eq!(note(std::slice::from_ref(&one)).as_deref(), Some("no"));
        assert_eq!(note(std::slice::from_ref(&one)), None);
        assert_eq!(note(&[one, two]).as_deref(), Some("no"));
        // What it is proven to serve says that nothing is held back any more.
        let whole = HealthReport { config_checksum: "a".into(), ..HealthReport::default() };
        note_health(&mut status, &whole, now);
        assert_eq!((status.quarantined.len(), status.quarantined_total), (0, 0));
    }

    #[test]
    fn what_an_agent_serves_is_what_it_proved_last() {
        let now = DateTime::UNIX_EPOCH;
        let mut status = AgentStatus::default();
        let mut report = ConfigStatus {
            config_id: ConfigUpdate::id(RevisionNumber(7), "0123456789abcdef"),
            version: RevisionNumber(7),
            status: ApplyStatus::Success,
            error_message: String::new(),
            applied_at: now,
            checksum: String::new(),
            quarantined: Vec::new(),
            quarantined_total: 0,
        };
        // Sent by another server, which alone knows the content.
        note_apply(&mut status, &report, "ffffffffffffffff", now);
        assert_eq!(status.serving, None);
        let news = note_apply(&mut status, &report, "0123456789abcdef", now);
        assert!(!news, "it was told before");
        let proven = serving(RevisionNumber(7), "0123456789abcdef");
        assert_eq!(status.serving, proven);
        report.status = ApplyStatus::RolledBack;
        report.version = RevisionNumber(8);
        note_apply(&mut status, &report, "0123456789abcdef", now);
        assert_eq!(status.serving, proven, "what was rolled back is not served");
        note_health(&mut status, &HealthReport::default(), now);
        assert_eq!(status.serving, None);
    }
}
