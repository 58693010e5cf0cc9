//! What agents tell of servers and traffic, in its protobuf form.

use chrono::DateTime;
use nxmesh_proto::agent::v1 as proto;

use crate::gateway::{
    ServerAddress,
    checks::{
        MAX_COUNTED_HOSTS, MAX_TOLD_SERVERS, ServerCheck, ServerChecks, ServerState, Traffic,
    },
};

/// Those that are named as servers are; of too many the first.
pub(super) fn to_checks(servers: Vec<proto::ServerCheck>, total: u32) -> ServerChecks {
    let servers = servers.into_iter().take(MAX_TOLD_SERVERS).filter_map(to_check).collect();
    ServerChecks { servers, total }
}

pub(super) fn from_checks(checks: ServerChecks) -> Vec<proto::ServerCheck> {
    checks.servers.into_iter().map(from_check).collect()
}

fn to_check(it: proto::ServerCheck) -> Option<ServerCheck> {
    let proto::ServerCheck { upstream_id, address, state, since, last_error, consecutive_failures } =
        it;
    let state = match state.as_str() {
        "healthy" => ServerState::Healthy,
        "unhealthy" => ServerState::Unhealthy,
        // As is whatever a newer agent calls it.
        _ => ServerState::Unknown,
    };
    let since = Some(since).filter(|it| *it != 0).and_then(|it| DateTime::from_timestamp(it, 0));
    Some(ServerCheck {
        upstream_id: upstream_id.parse().ok()?,
        address: ServerAddress::parse(address).ok()?,
        state,
        since,
        last_error,
        consecutive_failures,
    })
}

fn from_check(it: ServerCheck) -> proto::ServerCheck {
    let ServerCheck { upstream_id, address, state, since, last_error, consecutive_failures } = it;
    let state = match state {
        ServerState::Healthy => "healthy",
        ServerState::Unhealthy => "unhealthy",
        ServerState::Unknown => "unknown",
    };
    proto::ServerCheck {
        upstream_id: upstream_id.to_string(),
        address: address.into(),
        state: state.to_owned(),
        since: since.map_or(0, |it| it.timestamp()),
        last_error,
        consecutive_failures,
    }
}

pub(super) fn to_traffic(it: proto::Traffic) -> Traffic {
    let proto::Traffic { requests, failed, failed_by_virtual_host } = it;
    let hosts = failed_by_virtual_host.into_iter().take(MAX_COUNTED_HOSTS);
    let hosts = hosts.filter_map(|(id, failed)| Some((id.parse().ok()?, failed)));
    Traffic { requests, failed, failed_by_virtual_host: hosts.collect() }
}

pub(super) fn from_traffic(it: Traffic) -> proto::Traffic {
    let Traffic { requests, failed, failed_by_virtual_host } = it;
    let hosts = failed_by_virtual_host.into_iter().map(|(id, failed)| (id.to_string(), failed));
    proto::Traffic { requests, failed, failed_by_virtual_host: hosts.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limits_is_not_taken_and_nonsense_is_left_out() {
        let check = |address: String| proto::ServerCheck {
            upstream_id: crate::Id::<()>::from_uuid(uuid::Uuid::nil()).to_string(),
            address,
            ..proto::ServerCheck::default()
        };
        let many = (0..=MAX_TOLD_SERVERS).map(|it| check(format!("a{it}:80")));
        assert_eq!(to_checks(many.collect(), 1001).servers.len(), MAX_TOLD_SERVERS);
        let nonsense = vec![check("nonsense".to_owned()), proto::ServerCheck::default()];
        assert_eq!(to_checks(nonsense, 2), ServerChecks { servers: vec![], total: 2 });
        let id = |it: usize| uuid::Uuid::from_u128(it as u128).to_string();
        let failed_by_virtual_host = (0..=MAX_COUNTED_HOSTS).map(|it| (id(it), 1)).collect();
        let traffic = proto::Traffic { requests: Some(2), failed: 1, failed_by_virtual_host };
        assert_eq!(to_traffic(traffic).failed_by_virtual_host.len(), MAX_COUNTED_HOSTS);
    }
}
