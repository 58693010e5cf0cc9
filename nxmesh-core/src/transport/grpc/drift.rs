//! Drift in its protobuf form.

use nxmesh_proto::agent::v1::{self as proto, drift_change::Change};

use super::wire::to_time;
use crate::gateway::drift::{
    DriftChange, DriftEnd, DriftEnded, DriftFound, DriftKind, DriftPolicy, DriftReport,
    DriftedFile, NewDriftPolicy,
};

/// What is not known is restored: no change may win because a word is new.
pub(super) fn to_policy(policy: &str, until: i64) -> DriftPolicy {
    match policy {
        "report" => DriftPolicy::Report,
        "adopt" => DriftPolicy::Adopt { until: to_time(until) },
        _ => DriftPolicy::Restore,
    }
}

pub(super) fn from_policy(policy: DriftPolicy) -> (String, i64) {
    let NewDriftPolicy { policy, until } = policy.into();
    (policy.unwrap_or_default(), until.map_or(0, |it| it.timestamp()))
}

pub(super) fn to_report(it: proto::Drift) -> DriftReport {
    let proto::Drift { policy, until, files, total } = it;
    let files = files.into_iter().map(to_file).collect();
    DriftReport { policy: to_policy(&policy, until), files, total }
}

pub(super) fn from_report(it: DriftReport) -> proto::Drift {
    let DriftReport { policy, files, total } = it;
    let (policy, until) = from_policy(policy);
    proto::Drift { policy, until, files: files.into_iter().map(from_file).collect(), total }
}

/// `None` for what this version does not know.
pub(super) fn to_change(it: proto::DriftChange) -> Option<DriftChange> {
    Some(match it.change? {
        Change::Found(proto::DriftFound { at, files, total }) => {
            let files = files.into_iter().map(to_file).collect();
            DriftChange::Found(DriftFound { at: to_time(at), files, total })
        }
        Change::Ended(proto::DriftEnded { at, by }) => {
            let by = match by.as_str() {
                "hand" => DriftEnd::Hand,
                "update" => DriftEnd::Update,
                _ => DriftEnd::Agent,
            };
            DriftChange::Ended(DriftEnded { at: to_time(at), by })
        }
    })
}

pub(super) fn from_change(it: DriftChange) -> proto::DriftChange {
    let change = match it {
        DriftChange::Found(DriftFound { at, files, total }) => {
            let files = files.into_iter().map(from_file).collect();
            Change::Found(proto::DriftFound { at: at.timestamp(), files, total })
        }
        DriftChange::Ended(DriftEnded { at, by }) => {
            let by = match by {
                DriftEnd::Agent => "agent",
                DriftEnd::Hand => "hand",
                DriftEnd::Update => "update",
            };
            Change::Ended(proto::DriftEnded { at: at.timestamp(), by: by.to_owned() })
        }
    };
    proto::DriftChange { change: Some(change) }
}

fn to_file(it: proto::DriftedFile) -> DriftedFile {
    let proto::DriftedFile { path, kind, since, diff, truncated } = it;
    let kind = match kind.as_str() {
        "missing" => DriftKind::Missing,
        "added" => DriftKind::Added,
        "permissions" => DriftKind::Permissions,
        "link" => DriftKind::Link,
        "nginx_reloaded" => DriftKind::NginxReloaded,
        "nginx_restarted" => DriftKind::NginxRestarted,
        "nginx_stopped" => DriftKind::NginxStopped,
        // Whatever a newer agent calls it, something changed.
        _ => DriftKind::Changed,
    };
    DriftedFile { path, kind, since: to_time(since), diff, truncated }
}

fn from_file(it: DriftedFile) -> proto::DriftedFile {
    let DriftedFile { path, kind, since, diff, truncated } = it;
    let kind = match kind {
        DriftKind::Changed => "changed",
        DriftKind::Missing => "missing",
        DriftKind::Added => "added",
        DriftKind::Permissions => "permissions",
        DriftKind::Link => "link",
        DriftKind::NginxReloaded => "nginx_reloaded",
        DriftKind::NginxRestarted => "nginx_restarted",
        DriftKind::NginxStopped => "nginx_stopped",
    };
    proto::DriftedFile { path, kind: kind.to_owned(), since: since.timestamp(), diff, truncated }
}
