//! Rollouts, as callers see them.

use futures::TryStreamExt;
use nxmesh_core::{
    MergePatch,
    gateway::{NewRollout, NewWave, RolloutState, link::ApplyStatus},
    tenancy::{Delivery, WorkspaceId},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    agents::{dial, token, until},
    convergence::{beat, next, tell},
    given::{Given, host, server, server_on_sqlite},
};

/// Makes delivery of a workspace staged, or immediate.
async fn deliver(given: &Given, of: WorkspaceId, how: &str) -> u64 {
    let patch = MergePatch::new(json!({"settings": {"delivery": how}})).unwrap();
    given.client.workspaces().update(of, &patch).await.unwrap().revision.0
}

async fn get(given: &Given, path: &str) -> Value {
    given.send(Method::GET, path, None).await.body
}

#[tokio::test]
async fn delivery_is_part_of_the_history_and_staged_since_is_not_for_callers() {
    let given = server_on_sqlite().await;
    let workspace = given.workspace().await;
    assert_eq!(workspace.settings.delivery, Delivery::Immediate);
    let staged = deliver(&given, workspace.id, "staged").await;
    let path = format!("/v1/workspaces/{}", workspace.id);
    let settings = get(&given, &path).await["settings"].clone();
    assert_eq!(
        (&settings["delivery"], &settings["staged_since"]),
        (&json!("staged"), &json!(staged))
    );
    // Other settings change, and it stays staged since then.
    let other = MergePatch::new(json!({"settings": {"env_vars": {"TZ": "UTC"}}})).unwrap();
    given.client.workspaces().update(workspace.id, &other).await.unwrap();
    assert_eq!(get(&given, &path).await["settings"]["staged_since"], staged);
    let forged = json!({"settings": {"staged_since": 99}});
    let forged = given.send(Method::PATCH, &path, Some(forged)).await;
    assert_eq!(forged.refusal(), (422, "VALIDATION_ERROR", vec!["settings.staged_since"]));
    let wrong = given.send(Method::PATCH, &path, Some(json!({"settings": {"delivery": "later"}})));
    assert_eq!(wrong.await.refusal(), (422, "VALIDATION_ERROR", vec!["settings.delivery"]));
    deliver(&given, workspace.id, "immediate").await;
    assert_eq!(get(&given, &path).await["settings"].get("staged_since"), None);
    let diff = get(&given, &format!("{path}/revisions/0/diff/{staged}")).await;
    assert_eq!(diff["objects"][0]["after"]["delivery"], "staged", "{diff}");
}

#[tokio::test]
async fn a_rollout_needs_staged_delivery_and_no_other_rollout() {
    let given = server().await;
    let workspace = given.workspace().await.id;
    token(&given, workspace, "a").await;
    let path = format!("/v1/workspaces/{workspace}/rollouts");
    let start = async |body: Value| given.send(Method::POST, &path, Some(body)).await;
    let refused = start(json!({"message": "m"})).await;
    assert_eq!(refused.refusal(), (409, "CONFLICT", vec![]));
    assert!(refused.text.contains("set its settings.delivery to staged"), "{}", refused.text);
    let staged = deliver(&given, workspace, "staged").await;
    for (body, field) in [
        (json!({"message": "m", "revision": staged + 1}), "revision"),
        (json!({"message": "m", "revision": 0}), "revision"),
        (json!({"message": "m", "waves": [{"percent": 0}]}), "waves[0].percent"),
        (json!({"waves": []}), "message"),
    ] {
        assert_eq!(start(body).await.refusal(), (422, "VALIDATION_ERROR", vec![field]));
    }
    let made =
        start(json!({"message": "m", "waves": [{"percent": 50, "soak_seconds": 600}]})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/rollouts/{id}"));
    assert_eq!(made.header("etag"), "\"1\"");
    assert_eq!(
        (&made.body["state"], &made.body["revision"], &made.body["released"]),
        (&json!("running"), &json!(staged), &json!(staged))
    );
    let states = made.body["waves"].as_array().unwrap().iter();
    let states: Vec<_> = states.map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["converging", "waiting"]);
    assert_eq!(made.body["waves"][1]["which"], "rest");
    let other = start(json!({"message": "m"})).await;
    assert_eq!(other.refusal(), (409, "CONFLICT", vec![]));
    assert!(other.text.contains(&id), "{}", other.text);

    let act = async |what: &str| {
        let path = format!("/v1/rollouts/{id}/{what}");
        let answer = given.send(Method::POST, &path, None).await;
        (answer.status.as_u16(), answer.body["state"].clone())
    };
    assert_eq!(act("resume").await.0, 409);
    assert_eq!(act("pause").await, (200, json!("paused")));
    assert_eq!(act("pause").await.0, 409);
    assert_eq!(start(json!({"message": "m"})).await.status, 409);
    assert_eq!(act("resume").await, (200, json!("running")));
    assert_eq!(act("abort").await, (200, json!("aborted")));
    for late in ["pause", "resume", "abort"] {
        assert_eq!(act(late).await.0, 409, "{late}");
    }
    let over = get(&given, &format!("/v1/rollouts/{id}")).await;
    assert_eq!(
        (&over["reason"], &over["waves"][0]["state"]),
        (&json!("somebody ended it"), &json!("taken_back"))
    );
    let listed: Vec<_> = given.client.rollouts().list(workspace).try_collect().await.unwrap();
    assert_eq!((listed.len(), listed[0].state), (1, RolloutState::Aborted));

    let log = format!("/v1/organizations/{}/audit-log", {
        given.client.workspaces().get(workspace).await.unwrap().organization_id
    });
    let log = get(&given, &log).await;
    let entries = log["data"].as_array().unwrap().iter();
    let rollouts = entries.filter(|it| it["object_type"] == "rollout");
    let actions: Vec<_> = rollouts.map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        ["rollout.started", "rollout.paused", "rollout.resumed", "rollout.aborted"]
    );
}

#[tokio::test]
async fn agents_stay_on_what_is_released_and_every_answer_says_so() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await.id;
        let token = token(&given, workspace, "a").await;
        let agent = format!("/v1/agents/{}", token.agent_id);
        let (mut link, _) = dial(&given, &token.token).await;
        let first = next(&mut link).await;
        tell(&link, &first, ApplyStatus::Success).await;
        let staged = deliver(&given, workspace, "staged").await;
        let new = json!({"message": "one", "changes": [
            {"action": "create", "type": "virtual_host", "body": host("one.example", 80)}
        ]});
        let preview = format!("/v1/workspaces/{workspace}/config/preview");
        let preview = given.send(Method::POST, &preview, Some(new.clone())).await.body;
        assert_eq!(preview["delivery"], "staged", "{preview}");
        assert_eq!(preview["agents"][0]["agent_ids"][0], token.agent_id.to_string());
        let changes = format!("/v1/workspaces/{workspace}/changes");
        assert_eq!(given.send(Method::POST, &changes, Some(new)).await.status, 200);

        // It made a revision, and agents are where they were.
        beat(&link, Some(&first)).await;
        let config = get(&given, &format!("{agent}/config")).await;
        assert!(!config.to_string().contains("one.example"), "{config}");
        until("it to be at rest", async || {
            get(&given, &agent).await["convergence"]["lagging"] == false
        })
        .await;
        let desired = get(&given, &agent).await["convergence"]["desired"].clone();
        assert_eq!(
            (&desired["revision"], &desired["checksum"]),
            (&json!(staged), &json!(first.checksum))
        );

        let new = NewRollout { message: "m".into(), ..NewRollout::default() };
        let rollout = given.client.rollouts().start(workspace, &new).await.unwrap();
        let update = next(&mut link).await;
        assert_eq!(update.version.0, staged + 1);
        let config = get(&given, &format!("{agent}/config")).await;
        assert!(config.to_string().contains("one.example"), "{config}");
        tell(&link, &update, ApplyStatus::Success).await;
        until("it to be completed", async || {
            let now = given.client.rollouts().get(rollout.id).await.unwrap();
            assert!(now.reason.is_none(), "{now:?}");
            now.state == RolloutState::Completed
        })
        .await;
        assert_eq!(get(&given, &agent).await["convergence"]["lagging"], false);

        // Immediate delivery releases the newest at once, whatever is under way.
        given.client.virtual_hosts().create(workspace, &host("two.example", 80)).await.unwrap();
        let canary = NewWave { percent: Some(1), soak_seconds: 600, ..NewWave::default() };
        let new = NewRollout { waves: vec![canary], ..new };
        let rollout = given.client.rollouts().start(workspace, &new).await.unwrap();
        let update = next(&mut link).await;
        tell(&link, &update, ApplyStatus::Success).await;
        given.client.virtual_hosts().create(workspace, &host("three.example", 80)).await.unwrap();
        deliver(&given, workspace, "immediate").await;
        let update = next(&mut link).await;
        assert_eq!(update.projection.virtual_hosts.len(), 3);
        tell(&link, &update, ApplyStatus::Success).await;
        until("the rollout to be over", async || {
            given.client.rollouts().get(rollout.id).await.unwrap().state == RolloutState::Aborted
        })
        .await;
    }
}
