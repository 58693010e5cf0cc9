//! Configurations in their protobuf form.

use std::sync::Arc;

use nxmesh_proto::agent::v1 as proto;

use super::drift;
use crate::{
    Error, ErrorKind, Id, Path, Problems, Result, RevisionNumber, Secret,
    gateway::{
        Algorithm, Certificate, ConfigUpdate, Header, HealthCheck, NewLocation, NewTargetAgents,
        NewUpstream, NewVirtualHost, Projection, RewriteFlag, RewriteRule, TargetAgents,
        UpstreamServer, UpstreamSpec, VirtualHostSpec, link::ServerMessage,
    },
    tenancy::{NewSettings, OnRefusal, Settings},
};

/// What is not understood is not taken in part: the agent says so instead.
pub(super) fn to_config(it: proto::ConfigUpdate) -> ServerMessage {
    let (config_id, version) = (it.config_id.clone(), to_version(it.version));
    match to_update(it) {
        Ok(update) => ServerMessage::Config(Arc::new(update)),
        Err(error) => ServerMessage::Unreadable { config_id, version, reason: error.to_string() },
    }
}

pub(super) fn to_update(it: proto::ConfigUpdate) -> Result<ConfigUpdate> {
    let proto::ConfigUpdate {
        config_id,
        version,
        virtual_hosts,
        upstreams,
        certificates,
        global_settings,
        checksum,
        on_refusal,
        drift_policy,
        drift_until,
    } = it;
    let hosts = virtual_hosts.into_iter().map(|it| Ok((to_id(&it.id)?, Arc::new(to_host(it)?))));
    let upstreams =
        upstreams.into_iter().map(|it| Ok((to_id(&it.id)?, Arc::new(to_upstream(it)?))));
    let certificates =
        certificates.into_values().map(|it| Ok((to_id(&it.id)?, Arc::new(to_certificate(it)))));
    let settings = to_settings(global_settings.unwrap_or_default(), to_on_refusal(on_refusal))?;
    let projection = Projection {
        virtual_hosts: hosts.collect::<Result<_>>()?,
        upstreams: upstreams.collect::<Result<_>>()?,
        certificates: certificates.collect::<Result<_>>()?,
        settings: Arc::new(settings),
    };
    let (version, projection) = (to_version(version), Arc::new(projection));
    let drift = drift::to_policy(&drift_policy, drift_until);
    Ok(ConfigUpdate { config_id, version, checksum, projection, drift })
}

pub(super) fn from_config(it: &ConfigUpdate) -> proto::ConfigUpdate {
    let ConfigUpdate { config_id, version, checksum, projection, drift } = it;
    let (drift_policy, drift_until) = drift::from_policy(*drift);
    let Projection { virtual_hosts, upstreams, certificates, settings } = projection.as_ref();
    let certificates =
        certificates.iter().map(|(id, it)| (id.to_string(), from_certificate(id.to_string(), it)));
    proto::ConfigUpdate {
        config_id: config_id.clone(),
        version: from_version(*version),
        virtual_hosts: virtual_hosts
            .iter()
            .map(|(id, it)| from_host(id.to_string(), it.as_ref().clone()))
            .collect(),
        upstreams: upstreams
            .iter()
            .map(|(id, it)| from_upstream(id.to_string(), it.as_ref().clone()))
            .collect(),
        certificates: certificates.collect(),
        global_settings: Some(from_settings(settings.as_ref().clone())),
        checksum: checksum.clone(),
        on_refusal: from_on_refusal(settings.on_refusal).into(),
        drift_policy,
        drift_until,
    }
}

fn to_id<T>(text: &str) -> Result<Id<T>> {
    text.parse().map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("{text:?} is no id")).with_source(error)
    })
}

fn to_host(it: proto::VirtualHost) -> Result<VirtualHostSpec> {
    let proto::VirtualHost {
        id: _,
        name,
        server_name,
        listen_port,
        ssl_enabled,
        ssl_certificate_id,
        http2_enabled,
        http3_enabled,
        locations,
        custom_directives,
    } = it;
    let new = NewVirtualHost {
        name,
        server_name,
        listen_port,
        ssl_enabled,
        ssl_certificate_id: some(ssl_certificate_id),
        http2_enabled,
        http3_enabled,
        locations: locations.into_iter().map(to_location).collect(),
        custom_directives,
        // Agents are only sent what is meant for them.
        target_agents: NewTargetAgents::default(),
    };
    new.parse().map(|(spec, _)| spec)
}

fn from_host(id: String, spec: VirtualHostSpec) -> proto::VirtualHost {
    let NewVirtualHost {
        name,
        server_name,
        listen_port,
        ssl_enabled,
        ssl_certificate_id,
        http2_enabled,
        http3_enabled,
        locations,
        custom_directives,
        target_agents: _,
    } = NewVirtualHost::from_parts(spec, TargetAgents::All);
    proto::VirtualHost {
        id,
        name,
        server_name,
        listen_port,
        ssl_enabled,
        ssl_certificate_id: ssl_certificate_id.unwrap_or_default(),
        http2_enabled,
        http3_enabled,
        locations: locations.into_iter().map(from_location).collect(),
        custom_directives,
    }
}

fn to_location(it: proto::Location) -> NewLocation {
    let proto::Location {
        path,
        proxy_pass,
        upstream_id,
        root,
        index,
        custom_headers,
        rewrite_rules,
        custom_directives,
    } = it;
    let headers = custom_headers.into_iter().map(|it| {
        let proto::Header { name, value, always } = it;
        Header { name, value, always }
    });
    let rules = rewrite_rules.into_iter().map(|it| {
        let proto::RewriteRule { pattern, replacement, flag } = it;
        RewriteRule { pattern, replacement, flag: to_flag(&flag) }
    });
    NewLocation {
        path,
        proxy_pass: some(proxy_pass),
        upstream_id: some(upstream_id),
        root: some(root),
        index: some(index),
        custom_headers: headers.collect(),
        rewrite_rules: rules.collect(),
        custom_directives,
    }
}

fn from_location(it: NewLocation) -> proto::Location {
    let NewLocation {
        path,
        proxy_pass,
        upstream_id,
        root,
        index,
        custom_headers,
        rewrite_rules,
        custom_directives,
    } = it;
    let headers = custom_headers.into_iter().map(|it| {
        let Header { name, value, always } = it;
        proto::Header { name, value, always }
    });
    let rules = rewrite_rules.into_iter().map(|it| {
        let RewriteRule { pattern, replacement, flag } = it;
        proto::RewriteRule { pattern, replacement, flag: from_flag(flag).to_owned() }
    });
    proto::Location {
        path,
        proxy_pass: proxy_pass.unwrap_or_default(),
        upstream_id: upstream_id.unwrap_or_default(),
        root: root.unwrap_or_default(),
        index: index.unwrap_or_default(),
        custom_headers: headers.collect(),
        rewrite_rules: rules.collect(),
        custom_directives,
    }
}

/// What is said of a rewrite without a flag that is known: it goes no further.
fn to_flag(flag: &str) -> RewriteFlag {
    match flag {
        "last" => RewriteFlag::Last,
        "redirect" => RewriteFlag::Redirect,
        "permanent" => RewriteFlag::Permanent,
        _ => RewriteFlag::Break,
    }
}

const fn from_flag(flag: RewriteFlag) -> &'static str {
    match flag {
        RewriteFlag::Last => "last",
        RewriteFlag::Break => "break",
        RewriteFlag::Redirect => "redirect",
        RewriteFlag::Permanent => "permanent",
    }
}

fn to_upstream(it: proto::Upstream) -> Result<UpstreamSpec> {
    let algorithm = match it.algorithm() {
        proto::LoadBalanceAlgorithm::Unspecified | proto::LoadBalanceAlgorithm::RoundRobin => {
            Algorithm::RoundRobin
        }
        proto::LoadBalanceAlgorithm::LeastConnections => Algorithm::LeastConnections,
        proto::LoadBalanceAlgorithm::IpHash => Algorithm::IpHash,
        proto::LoadBalanceAlgorithm::WeightedRoundRobin => Algorithm::WeightedRoundRobin,
    };
    let proto::Upstream { id: _, name, algorithm: _, servers, health_check, keepalive_connections } =
        it;
    let servers = servers.into_iter().map(|it| {
        let proto::UpstreamServer {
            address,
            weight,
            backup,
            down,
            max_fails,
            fail_timeout_seconds,
        } = it;
        UpstreamServer {
            address,
            weight,
            backup,
            down,
            max_fails,
            fail_timeout: fail_timeout_seconds,
        }
    });
    let health_check = health_check.map(|it| {
        let proto::HealthCheckConfig {
            enabled,
            path,
            interval_seconds,
            timeout_seconds,
            healthy_threshold,
            unhealthy_threshold,
        } = it;
        HealthCheck {
            enabled,
            path,
            interval: interval_seconds,
            timeout: timeout_seconds,
            healthy_threshold,
            unhealthy_threshold,
        }
    });
    NewUpstream { name, algorithm, servers: servers.collect(), health_check, keepalive_connections }
        .parse()
}

fn from_upstream(id: String, spec: UpstreamSpec) -> proto::Upstream {
    let NewUpstream { name, algorithm, servers, health_check, keepalive_connections } = spec.into();
    let algorithm = match algorithm {
        Algorithm::RoundRobin => proto::LoadBalanceAlgorithm::RoundRobin,
        Algorithm::LeastConnections => proto::LoadBalanceAlgorithm::LeastConnections,
        Algorithm::IpHash => proto::LoadBalanceAlgorithm::IpHash,
        Algorithm::WeightedRoundRobin => proto::LoadBalanceAlgorithm::WeightedRoundRobin,
    };
    let servers = servers.into_iter().map(|it| {
        let UpstreamServer { address, weight, backup, down, max_fails, fail_timeout } = it;
        proto::UpstreamServer {
            address,
            weight,
            backup,
            down,
            max_fails,
            fail_timeout_seconds: fail_timeout,
        }
    });
    let health_check = health_check.map(|it| {
        let HealthCheck {
            enabled,
            path,
            interval,
            timeout,
            healthy_threshold,
            unhealthy_threshold,
        } = it;
        proto::HealthCheckConfig {
            enabled,
            path,
            interval_seconds: interval,
            timeout_seconds: timeout,
            healthy_threshold,
            unhealthy_threshold,
        }
    });
    proto::Upstream {
        id,
        name,
        algorithm: algorithm.into(),
        servers: servers.collect(),
        health_check,
        keepalive_connections,
    }
}

fn to_certificate(it: proto::Certificate) -> Certificate {
    let proto::Certificate { id: _, domain, certificate_pem, private_key_pem, expires_at } = it;
    Certificate {
        domain,
        certificate_pem,
        private_key_pem: Secret::new(private_key_pem),
        expires_at,
    }
}

fn from_certificate(id: String, it: &Certificate) -> proto::Certificate {
    let Certificate { domain, certificate_pem, private_key_pem, expires_at } = it;
    proto::Certificate {
        id,
        domain: domain.clone(),
        certificate_pem: certificate_pem.clone(),
        private_key_pem: private_key_pem.expose().clone(),
        expires_at: *expires_at,
    }
}

fn to_settings(it: proto::GlobalSettings, on_refusal: OnRefusal) -> Result<Settings> {
    let proto::GlobalSettings { nginx_directives, env_vars } = it;
    let mut problems = Problems::default();
    let settings = NewSettings { nginx_directives, env_vars, on_refusal, ..NewSettings::default() };
    let settings = settings.parse(&Path::root(), &mut problems);
    problems.finish(settings)
}

fn from_settings(it: Settings) -> proto::GlobalSettings {
    // When it is delivered is no business of the agent.
    let NewSettings { nginx_directives, env_vars, on_refusal: _, delivery: _ } = it.into();
    proto::GlobalSettings { nginx_directives, env_vars }
}

/// Whatever a newer server calls it, the default is what does most good.
fn to_on_refusal(it: i32) -> OnRefusal {
    match proto::OnRefusal::try_from(it) {
        Ok(proto::OnRefusal::Strict) => OnRefusal::Strict,
        Ok(proto::OnRefusal::Quarantine | proto::OnRefusal::Unspecified) | Err(_) => {
            OnRefusal::Quarantine
        }
    }
}

const fn from_on_refusal(it: OnRefusal) -> proto::OnRefusal {
    match it {
        OnRefusal::Quarantine => proto::OnRefusal::Quarantine,
        OnRefusal::Strict => proto::OnRefusal::Strict,
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn to_version(version: i64) -> RevisionNumber {
    RevisionNumber(u64::try_from(version).unwrap_or_default())
}

pub(super) fn from_version(version: RevisionNumber) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}
