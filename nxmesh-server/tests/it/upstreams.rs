use nxmesh_core::{
    Clock, SystemClock,
    gateway::{
        NewLocation, ServerAddress, UpstreamId,
        checks::{ServerCheck, ServerChecks, ServerState, Traffic},
        link::{AgentMessage, HealthReport, NginxStatus},
    },
};
use reqwest::Method;
use serde_json::json;

use crate::{
    agents::{dial, token, until},
    given::{host, server, server_on_sqlite, upstream},
};

#[tokio::test]
async fn an_upstream_is_made_read_changed_and_removed() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let body = json!({
            "name": "web-backend", "algorithm": "least_connections",
            "servers": [{"address": "10.0.1.30:8080", "weight": 2, "backup": false}, {"address": "10.0.1.32:8080", "weight": 1, "backup": true}],
            "health_check": {"enabled": true, "path": "/health", "interval": 10, "timeout": 5},
        });
        let made = given
            .send(Method::POST, &format!("/v1/workspaces/{workspace}/upstreams"), Some(body))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        let expected = json!({"address": "10.0.1.30:8080", "weight": 2, "backup": false, "down": false, "max_fails": 1, "fail_timeout": 10});
        assert_eq!(made.body["servers"][0], expected);
        assert_eq!(made.body["health_check"]["healthy_threshold"], 2);
        let path = made.header("location").to_owned();
        let changed = given.send(Method::PATCH, &path, Some(json!({"servers": [{"address": "10.0.1.30:8080", "weight": 3}], "health_check": null}))).await;
        assert_eq!(
            (
                changed.status.as_u16(),
                &changed.body["servers"][0]["weight"],
                &changed.body["health_check"]
            ),
            (200, &json!(3), &json!(null))
        );
        assert_ne!(changed.header("etag"), made.header("etag"));
        let nothing = given.send(Method::PATCH, &path, Some(json!({"name": "web-backend"}))).await;
        assert_eq!(
            nothing.header("etag"),
            changed.header("etag"),
            "a patch that changes nothing makes no revision"
        );
        let stale = given
            .send_with(
                Method::PATCH,
                &path,
                &[("if-match", made.header("etag"))],
                Some("{}".into()),
            )
            .await;
        assert_eq!(stale.refusal(), (412, "CONFLICT", vec![]));
        assert_eq!(given.send(Method::DELETE, &path, None).await.status, 204);
        assert_eq!(given.send(Method::GET, &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn mistakes_come_all_at_once_with_their_paths() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    let body = json!({
        "name": "x", "algorithm": "ip_hash",
        "servers": [{"address": "10.0.1.30:8080", "weight": 0}, {"address": "nonsense", "backup": true}],
    });
    let answer = given
        .send(Method::POST, &format!("/v1/workspaces/{workspace}/upstreams"), Some(body))
        .await;
    assert_eq!(
        answer.refusal(),
        (
            422,
            "VALIDATION_ERROR",
            vec!["servers[1].backup", "servers[0].weight", "servers[1].address"]
        )
    );
    let patched = given.client.upstreams().create(workspace, &upstream("a")).await.unwrap();
    let answer = given
        .send(
            Method::PATCH,
            &format!("/v1/upstreams/{}", patched.id),
            Some(json!({"servers": null})),
        )
        .await;
    assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec!["servers"]));
}

#[tokio::test]
async fn an_upstream_in_use_is_not_removed_and_its_users_are_named() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let used = given.client.upstreams().create(workspace, &upstream("api")).await.unwrap();
        let mut new = host("a.example", 80);
        new.locations = vec![NewLocation {
            path: "/".into(),
            upstream_id: Some(used.id.to_string()),
            ..NewLocation::default()
        }];
        let user = given.client.virtual_hosts().create(workspace, &new).await.unwrap();
        let error = given.client.upstreams().delete(used.id).await.unwrap_err();
        let error = error.api().unwrap();
        assert_eq!((error.status, error.code.as_str()), (409, "CONFLICT"));
        assert!(
            error.message.contains(&user.id.to_string()) && error.message.contains("a.example"),
            "{error}"
        );
        given.client.virtual_hosts().delete(user.id).await.unwrap();
        given.client.upstreams().delete(used.id).await.unwrap();
    }
}

/// What an agent reports that finds one server unhealthy.
fn report(upstream_id: UpstreamId, address: &str) -> HealthReport {
    let check = ServerCheck {
        upstream_id,
        address: ServerAddress::parse(address).unwrap(),
        state: ServerState::Unhealthy,
        since: Some(SystemClock.now()),
        last_error: "connection refused".into(),
        consecutive_failures: 3,
    };
    HealthReport {
        nginx: NginxStatus { is_running: true, ..NginxStatus::default() },
        checks: ServerChecks { servers: vec![check], total: 1 },
        traffic: Traffic { requests: Some(10), failed: 2, ..Traffic::default() },
        messages_dropped: 4,
        ..HealthReport::default()
    }
}

#[tokio::test]
async fn the_health_of_servers_is_what_the_agents_that_have_them_find() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let made = given.client.upstreams().create(workspace, &upstream("api")).await.unwrap();
        let address = made.spec.servers[0].address.as_str().to_owned();
        let unused = given.client.upstreams().health(made.id).await.unwrap();
        assert!(unused.servers[0].agents.is_empty(), "no agent has it");
        let mut new = host("a.example", 80);
        new.locations = vec![NewLocation {
            path: "/".into(),
            upstream_id: Some(made.id.to_string()),
            ..NewLocation::default()
        }];
        new.target_agents = serde_json::from_value(
            json!({"type": "selector", "label_selector": "name in (one, two)"}),
        )
        .unwrap();
        given.client.virtual_hosts().create(workspace, &new).await.unwrap();
        let one = token(&given, workspace, "one").await;
        let two = token(&given, workspace, "two").await;
        token(&given, workspace, "elsewhere").await;
        let (link, _) = dial(&given, &one.token).await;
        link.outgoing.send(AgentMessage::Health(report(made.id, &address))).await.unwrap();
        let path = format!("/v1/upstreams/{}/health", made.id);
        until("the report", async || {
            given.send(Method::GET, &path, None).await.body["servers"][0]["unhealthy"] == 1
        })
        .await;
        let shown = given.send(Method::GET, &path, None).await;
        assert_eq!(shown.status, 200);
        let server = &shown.body["servers"][0];
        assert_eq!((&server["address"], &server["healthy"]), (&json!(address), &json!(0)));
        let since = server["agents"][0]["since"].as_str().unwrap();
        let expected = json!([
            {"agent_id": one.agent_id, "state": "unhealthy", "since": since, "last_error": "connection refused", "consecutive_failures": 3},
            {"agent_id": two.agent_id, "state": "unknown", "since": null, "last_error": null, "consecutive_failures": 0},
        ]);
        assert_eq!(server["agents"], expected);
        let agent = given.client.agents().get(one.agent_id).await.unwrap().health.unwrap();
        assert_eq!((agent.requests, agent.responses_5xx, agent.messages_dropped), (Some(10), 2, 4));
        drop(link);
        until("the agent to be gone", async || {
            given.send(Method::GET, &path, None).await.body["servers"][0]["unknown"] == 2
        })
        .await;
        let missing = format!("/v1/upstreams/{}/health", one.agent_id);
        assert_eq!(given.send(Method::GET, &missing, None).await.status, 404);
    }
}
