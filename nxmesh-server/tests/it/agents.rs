use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use nxmesh_client::AgentFilter;
use nxmesh_core::{
    ErrorKind, MergePatch, Secret,
    gateway::{
        AgentState, LabelSelector, NewRegistrationToken,
        link::{
            AgentLink, AgentMessage, Connector, HealthReport, NginxStatus, Registration,
            RegistrationAnswer, ServerMessage,
        },
    },
    tenancy::WorkspaceId,
    transport::in_process::InProcessConnector,
};
use reqwest::Method;
use serde_json::json;

use crate::given::{Given, host, server, server_on_sqlite};

pub(crate) async fn token(
    given: &Given,
    workspace: WorkspaceId,
    name: &str,
) -> nxmesh_client::RegistrationToken {
    let labels = [("name".to_owned(), name.to_owned())].into();
    let new = NewRegistrationToken { name: name.into(), labels, expires_in_hours: 24 };
    given.client.agents().create_token(workspace, &new).await.unwrap()
}

/// How an agent introduces itself.
pub(crate) fn registration(token: &Secret<String>) -> Registration {
    Registration {
        token: token.clone(),
        hostname: "web-01.internal".into(),
        ip_address: "10.0.1.10".into(),
        version: "0.1.0".into(),
        capabilities: vec!["http2".into()],
        labels: Default::default(),
        deployment_mode: Default::default(),
        config_checksum: String::new(),
        config_version: Default::default(),
        nginx_version: "1.22.1".into(),
    }
}

/// Dials as an agent; answers the link, and what the registration was answered.
pub(crate) async fn dial(given: &Given, token: &Secret<String>) -> (AgentLink, ServerMessage) {
    let connector = InProcessConnector::new(given.mesh.gateway().clone());
    let mut link = connector.connect().await.unwrap();
    link.outgoing.send(AgentMessage::Registration(registration(token))).await.unwrap();
    let answer = link.incoming.next().await.unwrap().unwrap();
    (link, answer)
}

fn credential(answer: ServerMessage) -> Secret<String> {
    match answer {
        ServerMessage::Registered(RegistrationAnswer::Accepted {
            credential: Some(credential),
            ..
        }) => credential,
        other => panic!("{other:?}"),
    }
}

fn is_refused(answer: &ServerMessage) -> bool {
    matches!(answer, ServerMessage::Registered(RegistrationAnswer::Refused { .. }))
}

async fn report(link: &AgentLink) {
    let nginx = NginxStatus { is_running: true, ..NginxStatus::default() };
    link.outgoing
        .send(AgentMessage::Health(HealthReport { nginx, ..HealthReport::default() }))
        .await
        .unwrap();
}

pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test]
async fn an_agent_is_shown_as_the_source_says() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let answer = given
            .send(
                Method::POST,
                &format!("/v1/workspaces/{workspace}/agents/tokens"),
                Some(json!({"name": "web-01", "labels": {"env": "prod"}, "expires_in_hours": 24})),
            )
            .await;
        assert_eq!(answer.status, 201);
        let text = answer.body["token"].as_str().unwrap();
        assert!(text.starts_with("nxmesh_agent_"));
        let path = format!("/v1/agents/{}", answer.body["agent_id"].as_str().unwrap());
        let pending = given.send(Method::GET, &path, None).await;
        assert_eq!(
            (&pending.body["state"], &pending.body["last_seen_at"]),
            (&json!("pending"), &json!(null))
        );
        let (link, _) = dial(&given, &Secret::new(text.to_owned())).await;
        report(&link).await;
        until("the health report", async || {
            given.send(Method::GET, &path, None).await.body["health"].is_object()
        })
        .await;
        let online = given.send(Method::GET, &path, None).await.body;
        for (name, value) in [
            ("state", json!("online")),
            ("hostname", json!("web-01.internal")),
            ("ip_address", json!("10.0.1.10")),
            ("deployment_mode", json!("standalone")),
            ("capabilities", json!(["http2"])),
            ("labels", json!({"env": "prod"})),
        ] {
            assert_eq!(online[name], value, "{name}");
        }
        assert_eq!(online["health"]["nginx_status"], "running");
        drop(link);
        until("the agent to be offline", async || {
            given.send(Method::GET, &path, None).await.body["state"] == "offline"
        })
        .await;
    }
}

#[tokio::test]
async fn a_token_works_until_its_credential_was_used() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let token = token(&given, workspace, "a").await;
        // An agent that died before it kept its credential may ask again.
        let (first, answer) = dial(&given, &token.token).await;
        let lost = credential(answer);
        drop(first);
        let (second, answer) = dial(&given, &token.token).await;
        let kept = credential(answer);
        report(&second).await;
        until("the token to be gone", async || is_refused(&dial(&given, &token.token).await.1))
            .await;
        assert!(is_refused(&dial(&given, &lost).await.1));
        let (_third, answer) = dial(&given, &kept).await;
        assert!(matches!(
            answer,
            ServerMessage::Registered(RegistrationAnswer::Accepted { credential: None, .. })
        ));
    }
}

#[tokio::test]
async fn a_second_stream_replaces_the_first() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let token = token(&given, workspace, "a").await;
    let (mut first, answer) = dial(&given, &token.token).await;
    report(&first).await;
    let (second, _) = dial(&given, &credential(answer)).await;
    let end = loop {
        match first.incoming.next().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_some_and(|it| it.unwrap_err().to_string().contains("newer connection")));
    report(&second).await;
    // The end of the first one does not take the second one along.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(given.client.agents().get(token.agent_id).await.unwrap().state, AgentState::Online);
}

#[tokio::test]
async fn an_agent_that_is_deleted_is_sent_away_and_not_let_in_again() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let token = token(&given, workspace, "a").await;
    let (mut link, answer) = dial(&given, &token.token).await;
    report(&link).await;
    given.client.agents().delete(token.agent_id).await.unwrap();
    let end = loop {
        match link.incoming.next().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap().unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert!(is_refused(&dial(&given, &credential(answer)).await.1));
    assert!(given.client.agents().get(token.agent_id).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_does_not_concern_an_agent_is_not_sent_to_it() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let token = token(&given, workspace, "a").await;
    let (mut link, _) = dial(&given, &token.token).await;
    let Some(Ok(ServerMessage::Config(first))) = link.incoming.next().await else {
        panic!("no configuration")
    };
    let settle = |config_id: &str, version| {
        let status = nxmesh_core::gateway::link::ApplyStatus::Success;
        let (config_id, error_message, applied_at) =
            (config_id.to_owned(), String::new(), chrono::DateTime::UNIX_EPOCH);
        AgentMessage::ConfigStatus(nxmesh_core::gateway::link::ConfigStatus {
            config_id,
            version,
            status,
            error_message,
            applied_at,
            checksum: String::new(),
            quarantined: Vec::new(),
            quarantined_total: 0,
        })
    };
    link.outgoing.send(settle(&first.config_id, first.version)).await.unwrap();
    let elsewhere = json!({"type": "selector", "label_selector": "name=b"});
    let mut new = host("elsewhere.example", 80);
    new.target_agents = serde_json::from_value(elsewhere).unwrap();
    given.client.virtual_hosts().create(workspace, &new).await.unwrap();
    let here =
        given.client.virtual_hosts().create(workspace, &host("here.example", 80)).await.unwrap();
    let Some(Ok(ServerMessage::Config(second))) = link.incoming.next().await else {
        panic!("no configuration")
    };
    assert_eq!(second.projection.virtual_hosts.keys().collect::<Vec<_>>(), [&here.id]);
    assert_eq!(second.version, here.revision);
    // Labels move virtual hosts at once.
    link.outgoing.send(settle(&second.config_id, second.version)).await.unwrap();
    let patch = MergePatch::new(json!({"labels": {"name": "b"}})).unwrap();
    given.client.agents().update(token.agent_id, &patch).await.unwrap();
    let Some(Ok(ServerMessage::Config(third))) = link.incoming.next().await else {
        panic!("no configuration")
    };
    assert_eq!(third.projection.virtual_hosts.len(), 2);
}

#[tokio::test]
async fn agents_are_listed_by_state_and_labels() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(token(&given, workspace, name).await.agent_id);
    }
    let list = async |filter: &AgentFilter| -> Vec<_> {
        let agents: Vec<_> =
            given.client.agents().list(workspace, filter).try_collect().await.unwrap();
        agents.into_iter().map(|it| it.id).collect()
    };
    assert_eq!(list(&AgentFilter::default()).await, ids);
    let pending = AgentFilter { state: Some(AgentState::Pending), ..AgentFilter::default() };
    assert_eq!(list(&pending).await, ids);
    let label_selector = Some(LabelSelector::parse("name notin (a)").unwrap());
    assert_eq!(list(&AgentFilter { label_selector, ..AgentFilter::default() }).await, ids[1..]);
    let online = AgentFilter { state: Some(AgentState::Online), ..AgentFilter::default() };
    assert_eq!(list(&online).await, []);
}

#[tokio::test]
async fn labels_are_replaced_whole_and_checked() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    let token = token(&given, workspace, "a").await;
    let path = format!("/v1/agents/{}", token.agent_id);
    let changed = given
        .send(Method::PATCH, &path, Some(json!({"name": "renamed", "labels": {"tier": "web"}})))
        .await;
    assert_eq!(
        (&changed.body["name"], &changed.body["labels"]),
        (&json!("renamed"), &json!({"tier": "web"}))
    );
    let bad = given
        .send(Method::PATCH, &path, Some(json!({"labels": {"-bad": "x", "good": "b d"}})))
        .await;
    assert_eq!(bad.refusal(), (422, "VALIDATION_ERROR", vec!["labels.-bad", "labels.good"]));
    let bad = json!({"name": "x", "expires_in_hours": 8761});
    let bad = given
        .send(Method::POST, &format!("/v1/workspaces/{workspace}/agents/tokens"), Some(bad))
        .await;
    assert_eq!(bad.refusal(), (422, "VALIDATION_ERROR", vec!["expires_in_hours"]));
}

#[tokio::test]
async fn sessions_end_with_the_last_handle_of_the_mesh() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    let token = token(&given, workspace, "a").await;
    let (mut link, _) = dial(&given, &token.token).await;
    drop(given);
    let end = async { while let Some(Ok(_)) = link.incoming.next().await {} };
    tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
}
