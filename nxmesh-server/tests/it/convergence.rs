//! How far agents are from what they should serve, as callers see it.

use futures::StreamExt;
use nxmesh_core::{
    Clock, Secret, SystemClock,
    gateway::{
        ConfigUpdate,
        link::{
            AgentLink, AgentMessage, ApplyStatus, ConfigStatus, HealthReport, NginxStatus,
            ServerMessage,
        },
    },
    tenancy::WorkspaceId,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    agents::{dial, token, until},
    given::{Given, host, server, server_on_sqlite},
};

/// The next configuration that an agent is sent.
pub(crate) async fn next(link: &mut AgentLink) -> std::sync::Arc<ConfigUpdate> {
    loop {
        match link.incoming.next().await {
            Some(Ok(ServerMessage::Config(update))) => return update,
            Some(Ok(_)) => {}
            other => panic!("no configuration: {other:?}"),
        }
    }
}

/// Tells what became of a configuration.
pub(crate) async fn tell(link: &AgentLink, of: &ConfigUpdate, status: ApplyStatus) {
    let failed = matches!(status, ApplyStatus::Failed | ApplyStatus::RolledBack);
    let report = ConfigStatus {
        error_message: if failed { "nginx said no".to_owned() } else { String::new() },
        ..ConfigStatus::of(of, status, SystemClock.now())
    };
    link.outgoing.send(AgentMessage::ConfigStatus(report)).await.unwrap();
}

/// A heartbeat of an agent that serves this.
pub(crate) async fn beat(link: &AgentLink, serving: Option<&ConfigUpdate>) {
    let report = HealthReport {
        nginx: NginxStatus { is_running: true, ..NginxStatus::default() },
        config_checksum: serving.map(|it| it.checksum.clone()).unwrap_or_default(),
        config_version: serving.map(|it| it.version).unwrap_or_default(),
        ..HealthReport::default()
    };
    link.outgoing.send(AgentMessage::Health(report)).await.unwrap();
}

async fn shown(given: &Given, path: &str) -> Value {
    given.send(Method::GET, path, None).await.body["convergence"].clone()
}

/// The revisions of desired, sent, acknowledged and verified.
fn numbers(of: &Value) -> [Option<u64>; 4] {
    ["desired", "sent", "acknowledged", "verified"].map(|it| of[it]["revision"].as_u64())
}

#[tokio::test]
async fn four_numbers_say_how_far_an_agent_is() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let token = token(&given, workspace, "a").await;
        let path = format!("/v1/agents/{}", token.agent_id);
        let before = shown(&given, &path).await;
        assert_eq!(
            (numbers(&before), &before["lagging"]),
            ([Some(1), None, None, None], &json!(true))
        );
        let (mut link, _) = dial(&given, &token.token).await;
        let first = next(&mut link).await;
        beat(&link, None).await;
        until("sent", async || numbers(&shown(&given, &path).await)[1] == Some(1)).await;
        tell(&link, &first, ApplyStatus::Pending).await;
        beat(&link, None).await;
        until("acknowledged", async || numbers(&shown(&given, &path).await)[2] == Some(1)).await;
        assert_eq!(shown(&given, &path).await["lagging"], true);
        tell(&link, &first, ApplyStatus::Success).await;
        until("verified", async || shown(&given, &path).await["lagging"] == false).await;
        let now = shown(&given, &path).await;
        assert_eq!(numbers(&now), [Some(1); 4]);
        for name in ["desired", "sent", "acknowledged", "verified"] {
            assert_eq!(now[name]["checksum"], first.checksum, "{name}");
            assert!(now[name]["at"].as_str().is_some_and(|it| it.starts_with("20")), "{name}");
        }
        assert_eq!((&now["behind_since"], &now["attempts"]), (&json!(null), &json!(0)));

        // What does not touch it leaves it where it is, and not behind.
        let mut elsewhere = host("elsewhere.example", 80);
        let target = json!({"type": "selector", "label_selector": "name=b"});
        elsewhere.target_agents = serde_json::from_value(target).unwrap();
        given.client.virtual_hosts().create(workspace, &elsewhere).await.unwrap();
        let now = shown(&given, &path).await;
        assert_eq!(
            (numbers(&now), &now["lagging"]),
            ([Some(2), Some(1), Some(1), Some(1)], &json!(false))
        );
    }
}

#[tokio::test]
async fn what_is_mended_goes_out_at_once_and_what_failed_says_why() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let token = token(&given, workspace, "a").await;
    let path = format!("/v1/agents/{}", token.agent_id);
    let (mut link, _) = dial(&given, &token.token).await;
    let first = next(&mut link).await;
    tell(&link, &first, ApplyStatus::Success).await;
    let bad = given.client.virtual_hosts().create(workspace, &host("bad.example", 80)).await;
    let bad = bad.unwrap().id;
    // Often enough that the next try is many seconds away.
    for attempt in 1..=4 {
        let update = next(&mut link).await;
        tell(&link, &update, ApplyStatus::Failed).await;
        until("the failure", async || shown(&given, &path).await["attempts"] == attempt).await;
    }
    let failed = shown(&given, &path).await;
    assert_eq!((&failed["lagging"], &failed["error"]), (&json!(true), &json!("nginx said no")));
    assert!(failed["next_attempt_at"].is_string() && failed["behind_since"].is_string());
    assert_eq!(numbers(&failed), [Some(2), Some(2), Some(2), Some(1)]);
    let mended = nxmesh_core::MergePatch::new(json!({"name": "mended"})).unwrap();
    given.client.virtual_hosts().update(bad, &mended).await.unwrap();
    let update = next(&mut link).await;
    assert_eq!(update.version.0, 3, "and not the one that was to be tried again");
    tell(&link, &update, ApplyStatus::Success).await;
    until("it to catch up", async || shown(&given, &path).await["lagging"] == false).await;
    let now = shown(&given, &path).await;
    assert_eq!((numbers(&now), &now["attempts"]), ([Some(3); 4], &json!(0)));
    assert_eq!((&now["error"], &now["next_attempt_at"]), (&json!(null), &json!(null)));
}

/// A connected agent that serves what it should.
async fn converged(given: &Given, of: WorkspaceId, name: &str) -> (AgentLink, Secret<String>) {
    let token = token(given, of, name).await;
    let (mut link, _) = dial(given, &token.token).await;
    let update = next(&mut link).await;
    tell(&link, &update, ApplyStatus::Success).await;
    let path = format!("/v1/agents/{}", token.agent_id);
    until("it to converge", async || shown(given, &path).await["lagging"] == false).await;
    (link, token.token)
}

#[tokio::test]
async fn agents_that_lag_are_listed_whether_they_are_connected_or_not() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await.id;
    let list = async |query: &str| {
        let path = format!("/v1/workspaces/{workspace}/agents?{query}");
        let answer = given.send(Method::GET, &path, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let names = answer.body["data"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), answer.body["meta"]["total"].as_u64().unwrap())
    };
    let mut links = Vec::new();
    for name in ["a", "b", "c"] {
        links.push(converged(&given, workspace, name).await.0);
    }
    token(&given, workspace, "never").await;
    assert_eq!(list("lagging=true").await, ("never".to_owned(), 1));
    assert_eq!(list("lagging=false").await, ("a b c".to_owned(), 3));
    // One goes, and two others are to change.
    drop(links.remove(1));
    let mut new = host("two.example", 80);
    let target = json!({"type": "selector", "label_selector": "name in (a,b)"});
    new.target_agents = serde_json::from_value(target).unwrap();
    given.client.virtual_hosts().create(workspace, &new).await.unwrap();
    assert_eq!(list("lagging=true").await, ("a b never".to_owned(), 3));
    assert_eq!(list("lagging=true&page=2&per_page=2").await, ("never".to_owned(), 3));
    assert_eq!(list("lagging=true&label_selector=name=b").await, ("b".to_owned(), 1));
    until("b to be offline", async || list("lagging=true&state=offline").await.1 == 1).await;
    assert_eq!(list("lagging=false").await, ("c".to_owned(), 1));
    let update = next(&mut links[0]).await;
    tell(&links[0], &update, ApplyStatus::Success).await;
    until("a to catch up", async || list("lagging=false").await.0 == "a c").await;
    let bad = format!("/v1/workspaces/{workspace}/agents?lagging=1");
    let bad = given.send(Method::GET, &bad, None).await;
    assert_eq!(bad.refusal(), (422, "VALIDATION_ERROR", vec!["lagging"]));
}
