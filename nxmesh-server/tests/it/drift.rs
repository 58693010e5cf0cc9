//! What agents tell of drift, and what is decided about it.

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt};
use nxmesh_client::{Received, Watch};
use nxmesh_core::{
    Clock, MergePatch, SystemClock,
    events::EventId,
    gateway::{
        Agent, AgentState, ConfigUpdate,
        drift::{
            DriftChange, DriftEnd, DriftEnded, DriftFound, DriftKind, DriftPolicy, DriftReport,
            DriftedFile,
        },
        link::{
            AgentLink, AgentMessage, ApplyStatus, ConfigStatus, HealthReport, NginxStatus,
            ServerMessage,
        },
    },
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    agents::{dial, token, until},
    given::{Given, host, server, server_on_sqlite},
};

fn file(diff: Option<&str>) -> DriftedFile {
    DriftedFile {
        path: "nginx.conf".into(),
        kind: DriftKind::Changed,
        since: DateTime::UNIX_EPOCH,
        diff: diff.map(Into::into),
        truncated: false,
    }
}

/// A report of an nginx that runs, and of this drift.
async fn tell(
    link: &AgentLink,
    policy: DriftPolicy,
    files: Vec<DriftedFile>,
    drift_changes: Vec<DriftChange>,
    serves: &ConfigUpdate,
) {
    let total = files.len().try_into().unwrap();
    let report = HealthReport {
        nginx: NginxStatus { is_running: true, ..NginxStatus::default() },
        config_checksum: serves.checksum.clone(),
        config_version: serves.version,
        drift: Some(DriftReport { policy, files, total }),
        drift_changes,
        draining_workers: 3,
        ..HealthReport::default()
    };
    link.outgoing.send(AgentMessage::Health(report)).await.unwrap();
}

/// The next configuration; it is said to be applied.
async fn applied(link: &mut AgentLink) -> ConfigUpdate {
    let update = loop {
        if let ServerMessage::Config(update) = link.incoming.next().await.unwrap().unwrap() {
            break update;
        }
    };
    let status = ConfigStatus::of(&update, ApplyStatus::Success, DateTime::UNIX_EPOCH);
    link.outgoing.send(AgentMessage::ConfigStatus(status)).await.unwrap();
    update.as_ref().clone()
}

async fn get(given: &Given, path: &str) -> Value {
    let answer = given.send(Method::GET, path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn soon() -> DateTime<Utc> {
    let soon = SystemClock.now() + TimeDelta::hours(1);
    DateTime::from_timestamp(soon.timestamp(), 0).unwrap()
}

#[tokio::test]
async fn what_differs_is_shown_told_and_kept_with_its_diffs() {
    for given in [server().await, server_on_sqlite().await] {
        let workspace = given.workspace().await;
        let token = token(&given, workspace.id, "a").await;
        let path = format!("/v1/agents/{}", token.agent_id);
        let drift = format!("{path}/drift");
        assert_eq!(get(&given, &drift).await, json!({"policy": "restore", "last": null}));
        let mut watch = Watch::default();
        watch.since = Some(EventId(0));
        let mut events = given.client.events().watch(watch).await.unwrap();
        let (mut link, _) = dial(&given, &token.token).await;
        let first = applied(&mut link).await;
        let found =
            DriftFound { at: DateTime::UNIX_EPOCH, files: vec![file(Some("-a\n+b\n"))], total: 21 };
        let changes = vec![DriftChange::Found(found)];
        tell(&link, DriftPolicy::Restore, vec![file(None)], changes, &first).await;
        let shown = async || get(&given, &path).await;
        until("the agent to be degraded", async || shown().await["state"] == "degraded").await;
        let named = json!({
            "path": "nginx.conf", "kind": "changed", "since": "1970-01-01T00:00:00Z",
            "truncated": false,
        });
        let agent = shown().await;
        assert_eq!(agent["drift"], json!({"policy": "restore", "files": [named], "total": 1}));
        assert_eq!(agent["health"]["draining_workers"], 3);
        let mut with_diff = named.clone();
        with_diff["diff"] = json!("-a\n+b\n");
        let mut last = json!({
            "detected_at": "1970-01-01T00:00:00Z", "ended": null, "files": [with_diff], "total": 21,
        });
        assert_eq!(get(&given, &drift).await, json!({"policy": "restore", "last": last}));

        let ended = DriftEnded { at: DateTime::UNIX_EPOCH, by: DriftEnd::Agent };
        tell(&link, DriftPolicy::Restore, Vec::new(), vec![DriftChange::Ended(ended)], &first)
            .await;
        until("the agent to be well", async || shown().await["state"] == "online").await;
        assert_eq!(shown().await["drift"], json!({"policy": "restore", "files": [], "total": 0}));
        last["ended"] = json!({"at": "1970-01-01T00:00:00Z", "by": "agent"});
        assert_eq!(get(&given, &drift).await, json!({"policy": "restore", "last": last}));
        assert_eq!(
            serde_json::to_value(given.client.agents().drift(token.agent_id).await.unwrap())
                .unwrap(),
            json!({"policy": "restore", "last": last})
        );

        let mut told = Vec::new();
        while told.len() < 2 {
            if let Received::Event(event) = events.try_next().await.unwrap().unwrap()
                && event.event.event_type.as_str().starts_with("agent.drift")
            {
                told.push((event.event.event_type.to_string(), json!(event.event.data)));
            }
        }
        let named = json!([{"path": "nginx.conf", "kind": "changed"}]);
        let agent_id = token.agent_id;
        assert_eq!(
            told,
            [
                (
                    "agent.drift_detected".to_owned(),
                    json!({"agent_id": agent_id, "policy": "restore", "files": named, "total": 21})
                ),
                ("agent.drift_restored".to_owned(), json!({"agent_id": agent_id, "by": "agent"})),
            ]
        );
    }
}

#[tokio::test]
async fn a_policy_is_part_of_the_history_and_reaches_the_agent_without_its_content() {
    let given = server().await;
    let workspace = given.workspace().await;
    let token = token(&given, workspace.id, "a").await;
    let (mut link, _) = dial(&given, &token.token).await;
    let first = applied(&mut link).await;
    assert_eq!(first.drift, DriftPolicy::Restore);
    tell(&link, DriftPolicy::Restore, Vec::new(), Vec::new(), &first).await;
    let agents = given.client.agents();
    let patch = async |json: Value| -> Agent {
        agents.update(token.agent_id, &MergePatch::new(json).unwrap()).await.unwrap()
    };
    let changed = patch(json!({"drift": {"policy": "report"}})).await;
    assert_eq!(changed.drift.policy, DriftPolicy::Report);
    let second = applied(&mut link).await;
    assert_eq!((second.drift, &second.checksum), (DriftPolicy::Report, &first.checksum));
    let diff = get(
        &given,
        &format!(
            "/v1/workspaces/{}/revisions/{}/diff/{}",
            workspace.id,
            changed.revision.0 - 1,
            changed.revision.0
        ),
    )
    .await;
    let sides = |side: &str| diff["objects"][0][side]["drift"].clone();
    assert_eq!(
        (sides("before"), sides("after")),
        (json!({"policy": "restore"}), json!({"policy": "report"}))
    );
    let log = get(
        &given,
        &format!("/v1/organizations/{}/audit-log?action=agent.updated", workspace.organization_id),
    )
    .await;
    assert_eq!(log["data"][0]["after"]["drift"], json!({"policy": "report"}), "{log}");

    // Whoever only extends the time need not name the policy again.
    let until = soon();
    patch(json!({"drift": {"policy": "adopt", "until": until}})).await;
    let later = until + TimeDelta::hours(1);
    let changed = patch(json!({"drift": {"until": later}})).await;
    assert_eq!(changed.drift.policy, DriftPolicy::Adopt { until: later });
    let same = patch(json!({"drift": {"policy": "adopt", "until": later}, "name": "a"})).await;
    assert_eq!(same.revision, changed.revision, "nothing was changed");
    let changed = patch(json!({"drift": null})).await;
    assert_eq!(changed.drift.policy, DriftPolicy::Restore);
}

#[tokio::test]
async fn what_a_host_keeps_is_not_replaced_and_the_agent_is_behind_until_then() {
    let given = server().await;
    let workspace = given.workspace().await;
    let token = token(&given, workspace.id, "a").await;
    let (mut link, _) = dial(&given, &token.token).await;
    let first = applied(&mut link).await;
    tell(&link, DriftPolicy::Restore, Vec::new(), Vec::new(), &first).await;
    let agents = given.client.agents();
    let adopt = MergePatch::new(json!({"drift": {"policy": "adopt", "until": soon()}})).unwrap();
    agents.update(token.agent_id, &adopt).await.unwrap();
    let told = applied(&mut link).await;
    assert_eq!(
        (told.drift, &told.checksum),
        (DriftPolicy::Adopt { until: soon_of(&told) }, &first.checksum)
    );
    tell(&link, told.drift, Vec::new(), Vec::new(), &first).await;
    given.client.virtual_hosts().create(workspace.id, &host("a.example", 8080)).await.unwrap();
    let behind = async || given.mesh.figures().await.agents.behind;
    until("the agent to be behind", async || behind().await == 1).await;
    let back = MergePatch::new(json!({"drift": {"policy": "restore"}})).unwrap();
    agents.update(token.agent_id, &back).await.unwrap();
    // The very next one that is sent has both.
    let next = applied(&mut link).await;
    assert_eq!(next.drift, DriftPolicy::Restore);
    assert_ne!(next.checksum, first.checksum);
    until("the agent to be where it should", async || behind().await == 0).await;
    let state = agents.get(token.agent_id).await.unwrap().state;
    assert_eq!(state, AgentState::Online);
}

fn soon_of(update: &ConfigUpdate) -> DateTime<Utc> {
    update.drift.held_until(SystemClock.now()).unwrap()
}

#[tokio::test]
async fn what_is_no_policy_is_refused_with_its_field() {
    let given = server().await;
    let workspace = given.workspace().await;
    let token = token(&given, workspace.id, "a").await;
    let path = format!("/v1/agents/{}", token.agent_id);
    let in_days = |days| json!(SystemClock.now() + TimeDelta::days(days));
    for (drift, field) in [
        (json!({"policy": "ignore"}), "drift.policy"),
        (json!({"policy": "adopt"}), "drift.until"),
        (json!({"policy": "adopt", "until": "tomorrow"}), "drift.until"),
        (json!({"policy": "adopt", "until": in_days(0)}), "drift.until"),
        (json!({"policy": "adopt", "until": in_days(8)}), "drift.until"),
        (json!({"policy": "report", "until": in_days(1)}), "drift.until"),
        (json!({"until": in_days(1)}), "drift.until"),
        (json!({"policy": "report", "since": 1}), "drift.since"),
        (json!("report"), "drift"),
    ] {
        let answer = given.send(Method::PATCH, &path, Some(json!({"drift": drift}))).await;
        assert_eq!(answer.status, 422, "{drift}: {}", answer.body);
        assert_eq!(answer.body["error"]["details"][0]["field"], field, "{drift}: {}", answer.body);
    }
    // What was decided before is not decided again with whatever else is changed.
    let patch = json!({"name": "b", "drift": {"policy": "adopt", "until": in_days(7)}});
    let answer = given.send(Method::PATCH, &path, Some(patch)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
