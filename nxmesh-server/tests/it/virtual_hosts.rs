use futures::future::join_all;
use nxmesh_core::{
    MergePatch,
    gateway::{NewRegistrationToken, NewTargetAgents, NewVirtualHost},
    tenancy::WorkspaceId,
};
use reqwest::Method;
use serde_json::json;

use crate::given::{Given, host, server, server_on_sqlite, upstream};

async fn agent(
    given: &Given,
    workspace: WorkspaceId,
    env: &str,
) -> Result<nxmesh_client::RegistrationToken, nxmesh_client::Error> {
    let labels = [("env".to_owned(), env.to_owned())].into();
    let new = NewRegistrationToken { name: env.into(), labels, expires_in_hours: 1 };
    given.client.agents().create_token(workspace, &new).await
}

fn on(env: &str, new: NewVirtualHost) -> NewVirtualHost {
    let target_agents = NewTargetAgents {
        kind: Some("selector".into()),
        label_selector: Some(format!("env in ({env})")),
        agent_ids: None,
    };
    NewVirtualHost { target_agents, ..new }
}

#[tokio::test]
async fn a_virtual_host_is_made_read_changed_and_removed() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let upstream = given.client.upstreams().create(workspace, &upstream("api")).await.unwrap();
        let body = json!({
            "name": "API Gateway", "server_name": "api.example.com", "listen_port": 8443, "http2_enabled": true,
            "locations": [
                {"path": "/api/v1", "upstream_id": upstream.id, "custom_headers": [{"name": "X-Forwarded-Proto", "value": "$scheme"}]},
                {"path": "/health", "proxy_pass": "http://localhost:8080/health"},
            ],
            "target_agents": {"type": "selector", "label_selector": "env=production"},
        });
        let made = given
            .send(
                Method::POST,
                &format!("/v1/workspaces/{workspace}/virtual-hosts"),
                Some(body.clone()),
            )
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        for name in ["name", "server_name", "listen_port", "http2_enabled", "target_agents"] {
            assert_eq!(made.body[name], body[name], "{name}");
        }
        assert_eq!(
            made.body["locations"][1],
            json!({"path": "/health", "proxy_pass": "http://localhost:8080/health"})
        );
        let path = made.header("location").to_owned();
        assert_eq!(given.send(Method::GET, &path, None).await.body, made.body);
        let patch = json!({"name": "API Gateway v2", "locations": [{"path": "/api/v2", "upstream_id": upstream.id}]});
        let changed = given.send(Method::PATCH, &path, Some(patch)).await;
        assert_eq!(
            (changed.status.as_u16(), changed.body["locations"].as_array().map(Vec::len)),
            (200, Some(1))
        );
        let retargeted =
            given.send(Method::PATCH, &path, Some(json!({"target_agents": {"type": "all"}}))).await;
        assert_eq!(
            (retargeted.status.as_u16(), &retargeted.body["target_agents"]),
            (200, &json!({"type": "all"}))
        );
        let stale = given
            .send_with(Method::DELETE, &path, &[("if-match", made.header("etag"))], None)
            .await;
        assert_eq!(stale.refusal(), (412, "CONFLICT", vec![]));
        assert_eq!(given.send(Method::DELETE, &path, None).await.status, 204);
        assert_eq!(given.send(Method::DELETE, &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    let id = "aa0e8400-e29b-41d4-a716-446655440006";
    let body = json!({
        "name": "x", "server_name": "a.example", "listen_port": 443, "ssl_enabled": true, "ssl_certificate_id": id,
        "locations": [{"path": "/", "upstream_id": id}],
    });
    let answer = given
        .send(Method::POST, &format!("/v1/workspaces/{workspace}/virtual-hosts"), Some(body))
        .await;
    assert_eq!(
        answer.refusal(),
        (422, "VALIDATION_ERROR", vec!["ssl_certificate_id", "locations[0].upstream_id"])
    );
}

#[tokio::test]
async fn two_that_would_meet_on_one_agent_are_a_conflict() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let hosts = given.client.virtual_hosts();
        let refused = async |new: NewVirtualHost| {
            let error = hosts.create(workspace, &new).await.unwrap_err();
            let error = error.api().unwrap();
            (error.status, error.details[0].field.clone())
        };
        // Nobody is there on whom they could meet.
        let first =
            hosts.create(workspace, &on("prod", host("a.example b.example", 80))).await.unwrap();
        let second = hosts.create(workspace, &on("prod", host("b.example", 80))).await.unwrap();
        let error = agent(&given, workspace, "prod").await.unwrap_err();
        assert_eq!(
            (error.api().unwrap().status, error.api().unwrap().details[0].field.as_str()),
            (409, "labels")
        );
        hosts.delete(second.id).await.unwrap();
        agent(&given, workspace, "prod").await.unwrap();
        let test = agent(&given, workspace, "test").await.unwrap();

        assert_eq!(
            refused(on("prod", host("b.example", 80))).await,
            (409, "server_name".to_owned())
        );
        assert_eq!(refused(host("c.example a.example", 80)).await, (409, "server_name".to_owned()));
        hosts.create(workspace, &on("prod", host("b.example", 81))).await.unwrap();
        hosts.create(workspace, &on("prod", host("c.example", 80))).await.unwrap();
        let elsewhere = hosts.create(workspace, &on("test", host("b.example", 80))).await.unwrap();

        // A change of labels or targets may make them meet as well.
        let mut by_tier = host("b.example", 80);
        by_tier.target_agents.kind = Some("selector".into());
        by_tier.target_agents.label_selector = Some("tier=web".into());
        hosts.create(workspace, &by_tier).await.unwrap();
        let patch = MergePatch::new(json!({"labels": {"env": "test", "tier": "web"}})).unwrap();
        let error = given.client.agents().update(test.agent_id, &patch).await.unwrap_err();
        assert_eq!(
            (error.api().unwrap().status, error.api().unwrap().details[0].field.as_str()),
            (409, "labels")
        );
        let patch = MergePatch::new(json!({"target_agents": {"type": "all"}})).unwrap();
        assert_eq!(
            hosts.update(elsewhere.id, &patch).await.unwrap_err().api().unwrap().status,
            409
        );
        let patch = MergePatch::new(json!({"server_name": "d.example"})).unwrap();
        hosts.update(elsewhere.id, &patch).await.unwrap();
        let kept = hosts.get(first.id).await.unwrap();
        assert_eq!(kept, first);
    }
}

#[tokio::test]
async fn of_many_at_once_with_one_name_one_is_made() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    agent(&given, workspace, "prod").await.unwrap();
    let (hosts, new) = (given.client.virtual_hosts(), host("a.example", 80));
    let done = join_all((0..16).map(|_| hosts.create(workspace, &new))).await;
    let (made, refused): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 15));
    assert!(refused.into_iter().all(|it| it.unwrap_err().api().unwrap().status == 409));
}

#[tokio::test]
async fn of_many_at_once_with_other_names_all_are_made() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let news: Vec<_> = (0..16).map(|number| host(&format!("host{number}.example"), 80)).collect();
    let hosts = given.client.virtual_hosts();
    let made = join_all(news.iter().map(|new| hosts.create(workspace, new))).await;
    let mut revisions: Vec<_> = made.into_iter().map(|it| it.unwrap().revision.0).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=16).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stranger_sees_nothing() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let made =
        given.client.virtual_hosts().create(workspace, &host("a.example", 80)).await.unwrap();
    let stranger = given.stranger().await;
    assert!(stranger.virtual_hosts().get(made.id).await.unwrap_err().is_not_found());
    assert!(stranger.virtual_hosts().delete(made.id).await.unwrap_err().is_not_found());
    let error =
        stranger.virtual_hosts().create(workspace, &host("b.example", 80)).await.unwrap_err();
    assert!(error.is_not_found());
}
