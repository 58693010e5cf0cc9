//! What a transport promises: [`link`](crate::gateway::link).

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "they panic to fail")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use serde_json::json;

use super::given::{at, id};
use crate::{
    Error, ErrorKind, RevisionNumber, Secret, from_json,
    gateway::{
        ConfigUpdate, DeploymentMode, NewUpstream, NewVirtualHost, Projection,
        link::{
            AgentEvent, AgentLink, AgentMessage, Alert, ApplyStatus, Command, CommandAction,
            ConfigStatus, HealthReport, NginxStatus, Registration, RegistrationAnswer, ServerLink,
            ServerMessage, Severity, SystemMetrics,
        },
    },
};

/// One of each message of an agent, with all its fields set.
#[must_use]
pub fn agent_messages() -> Vec<AgentMessage> {
    let registration = Registration {
        token: Secret::new("nxmesh_agent_abc".to_owned()),
        hostname: "höst".into(),
        ip_address: "10.0.0.1".into(),
        version: "0.1.0".into(),
        capabilities: vec!["http2".into()],
        labels: BTreeMap::from([("env".into(), "prod".into())]),
        deployment_mode: DeploymentMode::KubernetesSidecar,
        config_checksum: "abc".into(),
        config_version: RevisionNumber(7),
        nginx_version: "1.22.1".into(),
    };
    let health = HealthReport {
        nginx: NginxStatus {
            is_running: true,
            pid: 7,
            uptime_seconds: 8,
            active_connections: 9,
            total_requests: 10,
            requests_per_second: 11.5,
        },
        system: SystemMetrics {
            cpu_percent: 1.5,
            memory_used_bytes: 2,
            memory_total_bytes: 3,
            disk_used_bytes: 4,
            disk_total_bytes: 5,
            load_average_1m: 6.5,
        },
        config_checksum: "abc".into(),
        config_version: RevisionNumber(7),
        alerts: vec![Alert {
            id: "a1".into(),
            severity: Severity::Critical,
            message: "nginx is not running".into(),
            metric: Some("cpu_percent".into()),
            value: Some(85.5),
            timestamp: chrono::DateTime::UNIX_EPOCH,
        }],
        requests: 12,
        responses_5xx: 3,
    };
    let statuses = [
        ApplyStatus::Pending,
        ApplyStatus::Validating,
        ApplyStatus::Applying,
        ApplyStatus::Success,
        ApplyStatus::Failed,
        ApplyStatus::RolledBack,
    ];
    let statuses = statuses.map(|status| {
        let (config_id, error_message) = ("7-abc".to_owned(), "it said \"no\"".to_owned());
        let (version, applied_at) = (RevisionNumber(7), at(3));
        AgentMessage::ConfigStatus(ConfigStatus {
            config_id,
            version,
            status,
            error_message,
            applied_at,
        })
    });
    let event = AgentEvent {
        event_id: "1".into(),
        event_type: "command.result".into(),
        timestamp: at(4),
        data: BTreeMap::from([("success".into(), "true".into())]),
    };
    [AgentMessage::Registration(registration), AgentMessage::Health(health)]
        .into_iter()
        .chain(statuses)
        .chain([AgentMessage::Event(event)])
        .collect()
}

/// One of each message of a control plane, with all its fields set.
#[must_use]
pub fn server_messages() -> Vec<ServerMessage> {
    let credential = Some(Secret::new("nxmesh_credential_abc".to_owned()));
    let accepted = RegistrationAnswer::Accepted {
        agent_id: id(),
        heartbeat_interval: Duration::from_secs(10),
        credential,
    };
    let actions = [
        CommandAction::Reload { graceful: true },
        CommandAction::Restart { force: true },
        CommandAction::Stop { graceful: true, timeout: Duration::from_secs(5) },
        CommandAction::GetStatus,
        CommandAction::ValidateConfig { config_content: "events {}".into() },
    ];
    let commands =
        actions.map(|action| ServerMessage::Command(Command { command_id: "7".into(), action }));
    let refused = RegistrationAnswer::Refused { reason: "no".into() };
    [
        ServerMessage::Registered(accepted),
        ServerMessage::Registered(refused),
        ServerMessage::Config(Arc::new(config())),
        ServerMessage::Heard,
    ]
    .into_iter()
    .chain(commands)
    .collect()
}

fn config() -> ConfigUpdate {
    let upstream: NewUpstream = from_json(json!({
        "name": "api", "algorithm": "ip_hash", "keepalive_connections": 0,
        "servers": [{"address": "a:1", "weight": 2, "down": true, "max_fails": 0, "fail_timeout": 3}, {"address": "[::1]:2"}],
        "health_check": {"enabled": true, "path": "/h", "interval": 1, "timeout": 2, "healthy_threshold": 3, "unhealthy_threshold": 4},
    }))
    .unwrap();
    let upstream_id = id();
    let host: NewVirtualHost = from_json(json!({
        "name": "a", "server_name": "a.example *.b.example", "listen_port": 443, "ssl_enabled": true,
        "ssl_certificate_id": id::<crate::gateway::Certificate>(), "http2_enabled": true, "http3_enabled": true,
        "custom_directives": {"client_max_body_size": "1m"},
        "locations": [
            {"path": "/", "upstream_id": upstream_id, "custom_headers": [{"name": "A", "value": "$host", "always": true}],
             "rewrite_rules": [{"pattern": "^/(.*)", "replacement": "/x/$1", "flag": "permanent"}],
             "custom_directives": {"expires": "1h"}},
            {"path": "/f", "root": "/srv", "index": "index.html"},
            {"path": "/p", "proxy_pass": "https://a:1/b"},
        ],
    }))
    .unwrap();
    let settings =
        from_json(json!({"nginx_directives": {"gzip": "on"}, "env_vars": {"A": "b"}})).unwrap();
    let projection = Projection {
        virtual_hosts: BTreeMap::from([(id(), Arc::new(host.parse().unwrap().0))]),
        upstreams: BTreeMap::from([(upstream_id, Arc::new(upstream.parse().unwrap()))]),
        certificates: BTreeMap::new(),
        settings: Arc::new(settings),
    };
    ConfigUpdate {
        config_id: "7-abc".into(),
        version: RevisionNumber(7),
        checksum: "abc".into(),
        projection: Arc::new(projection),
    }
}

/// Every message arrives as it was sent, in order, in both directions.
pub async fn messages_arrive_as_they_were_sent(server: &mut ServerLink, agent: &mut AgentLink) {
    for message in agent_messages() {
        agent.outgoing.send(message.clone()).await.unwrap();
        assert_eq!(server.incoming.next().await.unwrap().unwrap(), message);
    }
    for message in server_messages() {
        server.outgoing.send(Ok(message.clone())).await.unwrap();
        assert_eq!(agent.incoming.next().await.unwrap().unwrap(), message);
    }
}

/// The reason for which the control plane ends a connection reaches the agent.
pub async fn the_end_has_its_reason(server: ServerLink, agent: &mut AgentLink) {
    let reason = Error::new(ErrorKind::Unauthenticated, "go away");
    server.outgoing.send(Err(reason)).await.unwrap();
    drop(server);
    let heard = agent.incoming.next().await.unwrap().unwrap_err();
    assert_eq!((heard.kind(), heard.message()), (ErrorKind::Unauthenticated, "go away"));
    assert!(agent.incoming.next().await.is_none());
}

/// An agent that goes away ends the stream at the control plane.
pub async fn an_agent_that_is_gone_is_noticed(server: &mut ServerLink, agent: AgentLink) {
    drop(agent);
    let end = tokio::time::timeout(Duration::from_secs(10), server.incoming.next()).await.unwrap();
    assert!(end.is_none_or(|it| it.is_err()));
}
