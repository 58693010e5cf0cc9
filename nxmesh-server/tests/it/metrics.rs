//! What the server counts about itself.

use std::num::NonZeroU32;

use futures::StreamExt;
use nxmesh_client::Watch;
use nxmesh_core::{
    conformance::given::id,
    gateway::{
        ServerAddress,
        checks::{ServerCheck, ServerChecks, ServerState},
        drift::DriftReport,
        link::{AgentMessage, ApplyStatus, ConfigStatus, HealthReport, ServerMessage},
    },
};
use nxmesh_server::HttpSettings;
use reqwest::Method;

use crate::{
    agents::{dial, token, until},
    given::{EMAIL, Given, host, server, server_on_sqlite, server_with},
};

/// All that `/metrics` says to somebody who is not logged in.
async fn scrape(given: &Given) -> String {
    let answer = given.send_bare(Method::GET, "/metrics", None).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    answer.body.as_str().unwrap().to_owned()
}

/// The value of the one line that begins with this name, labels included.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|it| it.parse().unwrap())
}

#[tokio::test]
async fn requests_are_counted_by_route_and_nobody_is_named() {
    let given = server().await;
    let workspace = given.workspace().await;
    let made = given.client.virtual_hosts().create(workspace.id, &host("a.example", 80)).await;
    let path = format!("/v1/virtual-hosts/{}", made.unwrap().id);
    for _ in 0..3 {
        given.send(Method::GET, &format!("{path}?secret=hidden"), None).await;
    }
    given.send_bare(Method::GET, &path, None).await;
    given.send_bare(Method::GET, "/v1/made-up/path", None).await;
    given.send_bare(Method::from_bytes(b"MADEUP").unwrap(), "/healthz", None).await;
    let text = scrape(&given).await;
    let counted = |labels: &str| {
        value(&text, &format!("nxmesh_http_request_duration_seconds_count{{{labels}}}"))
    };
    let route = "route=\"/v1/virtual-hosts/{id}\"";
    assert_eq!(counted(&format!("method=\"GET\",{route},status=\"2xx\"")), Some(3.0), "{text}");
    assert_eq!(counted(&format!("method=\"GET\",{route},status=\"4xx\"")), Some(1.0), "{text}");
    assert_eq!(counted("method=\"GET\",route=\"none\",status=\"4xx\""), Some(1.0), "{text}");
    assert_eq!(counted("method=\"other\",route=\"/healthz\",status=\"4xx\""), Some(1.0), "{text}");
    assert_eq!(value(&text, "nxmesh_http_requests_in_flight"), Some(1.0), "this one");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(value(&text, &format!("nxmesh_build_info{{version=\"{version}\"}}")), Some(1.0));
    assert!(value(&text, "process_start_time_seconds").is_some_and(|it| it > 1e9), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let ids = [workspace.id.to_string(), workspace.organization_id.to_string()];
    let names = [EMAIL, "acme", "production", "a.example", "made-up", "MADEUP", "hidden"];
    for name in ids.iter().map(String::as_str).chain(names) {
        assert!(!text.contains(name), "{name} in {text}");
    }
}

#[tokio::test]
async fn what_the_store_does_is_counted() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let hosts = given.client.virtual_hosts();
    for port in 80..83 {
        hosts.create(workspace, &host("a.example", port)).await.unwrap();
    }
    let text = scrape(&given).await;
    assert_eq!(value(&text, "nxmesh_commit_changes_sum"), Some(3.0), "{text}");
    assert_eq!(value(&text, "nxmesh_commit_changes_bucket{le=\"+Inf\"}"), Some(3.0), "{text}");
    let call = |metric: &str| value(&text, &format!("{metric}{{operation=\"gateway.commit\"}}"));
    assert_eq!(call("nxmesh_store_call_duration_seconds_count"), Some(3.0), "{text}");
    assert_eq!(call("nxmesh_store_call_failures_total"), Some(0.0), "{text}");
}

#[tokio::test]
async fn events_are_counted_by_how_late_they_were() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let mut watch = Watch::default();
        watch.patterns = vec!["virtual_host.created".parse().unwrap()];
        let mut events = given.client.events().watch(watch).await.unwrap();
        let watched = async |expected: f64| {
            let is = async || value(&scrape(&given).await, "nxmesh_events_watching");
            until("watching", async || is().await == Some(expected)).await;
        };
        watched(1.0).await;
        for port in 80..83 {
            let host = host("a.example", port);
            given.client.virtual_hosts().create(workspace, &host).await.unwrap();
            events.next().await.unwrap().unwrap();
        }
        let text = scrape(&given).await;
        let count = value(&text, "nxmesh_event_lag_seconds_count");
        // The organization and the workspace, and what else there was.
        assert!(count.is_some_and(|it| it >= 5.0), "{text}");
        assert_eq!(value(&text, "nxmesh_event_lag_seconds_bucket{le=\"+Inf\"}"), count);
        drop(events);
        watched(0.0).await;
    }
}

#[tokio::test]
async fn two_servers_in_one_process_count_for_themselves() {
    let (busy, idle) = (server().await, server().await);
    busy.workspace().await;
    let line = "nxmesh_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/organizations\",status=\"2xx\"}";
    assert_eq!(value(&scrape(&busy).await, line), Some(1.0));
    let text = scrape(&idle).await;
    assert_eq!(value(&text, line), None, "{text}");
    assert!(!text.contains("tenancy.workspaces"), "{text}");
}

#[tokio::test]
async fn what_the_limits_refuse_is_counted() {
    let mut settings = HttpSettings::default();
    settings.requests_per_minute = NonZeroU32::new(2);
    let given = server_with(settings).await;
    let mut refused = 0.0;
    for _ in 0..6 {
        let answer = given.send_bare(Method::GET, "/v1/organizations", None).await;
        refused += if answer.status == 429 { 1.0 } else { 0.0 };
    }
    assert!(refused >= 3.0);
    let text = scrape(&given).await;
    assert_eq!(value(&text, "nxmesh_http_refused_by_limit_requests_total"), Some(refused));
    assert_eq!(value(&text, "nxmesh_http_refused_by_limit_logins_total"), Some(0.0));
}

/// Something was changed on the host, and of three servers two do not answer.
fn troubled() -> HealthReport {
    let check = |state, port: u16| ServerCheck {
        upstream_id: id(),
        address: ServerAddress::parse(format!("127.0.0.1:{port}")).unwrap(),
        state,
        since: None,
        last_error: String::new(),
        consecutive_failures: 0,
    };
    let states = [ServerState::Unhealthy, ServerState::Healthy, ServerState::Unhealthy];
    HealthReport {
        drift: Some(DriftReport { total: 1, ..DriftReport::default() }),
        checks: ServerChecks {
            servers: states.into_iter().zip(1..).map(|(it, port)| check(it, port)).collect(),
            total: 3,
        },
        ..HealthReport::default()
    }
}

#[tokio::test]
async fn agents_are_counted_by_how_they_are() {
    let troubles = [
        "nxmesh_agents_holding_back",
        "nxmesh_agents_drifted",
        "nxmesh_upstream_servers_unhealthy",
    ];
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        token(&given, workspace, "never-connects").await;
        let token = token(&given, workspace, "web-01").await.token;
        let (mut link, _) = dial(&given, &token).await;
        let text = scrape(&given).await;
        assert_eq!(value(&text, "nxmesh_agents_registered"), Some(2.0), "{text}");
        assert_eq!(value(&text, "nxmesh_agents_pending"), Some(1.0), "{text}");
        let is = async |name: &str, expected: f64| {
            until(name, async || value(&scrape(&given).await, name) == Some(expected)).await;
        };
        is("nxmesh_agents_behind", 1.0).await;
        is("nxmesh_agents_connected{state=\"online\"}", 1.0).await;
        let Some(Ok(ServerMessage::Config(update))) = link.incoming.next().await else {
            panic!("no configuration")
        };
        let tell = async |status| {
            let status = ConfigStatus::of(&update, status, Default::default());
            link.outgoing.send(AgentMessage::ConfigStatus(status)).await.unwrap();
        };
        tell(ApplyStatus::Failed).await;
        is("nxmesh_agents_connected{state=\"degraded\"}", 1.0).await;
        is("nxmesh_agents_behind_revisions_max", update.version.0 as f64).await;
        tell(ApplyStatus::Success).await;
        is("nxmesh_agents_behind", 0.0).await;
        is("nxmesh_agents_connected{state=\"online\"}", 1.0).await;
        for name in troubles {
            is(name, 0.0).await;
        }
        let held = ConfigStatus {
            checksum: update.checksum_without("held"),
            quarantined_total: 1,
            ..ConfigStatus::of(&update, ApplyStatus::Success, Default::default())
        };
        link.outgoing.send(AgentMessage::ConfigStatus(held)).await.unwrap();
        link.outgoing.send(AgentMessage::Health(troubled())).await.unwrap();
        for (name, count) in troubles.into_iter().zip([1.0, 1.0, 2.0]) {
            is(name, count).await;
        }
        assert!(!scrape(&given).await.contains("web-01"));
        drop(link);
        is("nxmesh_agents_connected{state=\"online\"}", 0.0).await;
    }
}
