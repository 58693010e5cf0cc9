//! What a change would do, and what agents should be running.

use std::{collections::BTreeMap, time::Duration};

use chrono::DateTime;
use futures::StreamExt;
use nxmesh_client::Client;
use nxmesh_core::{
    Secret,
    gateway::{
        AgentConfig, AgentId, ConfigUpdate, ConfigVersion, NewChangeSet, NewRegistrationToken,
        NewTargetAgents, NewVirtualHost, ObjectKind,
        link::{
            AgentLink, AgentMessage, ApplyStatus, ConfigStatus, Connector, HealthReport,
            Registration, ServerMessage,
        },
    },
    tenancy::{NewApiKey, Role, WorkspaceId},
    transport::in_process::InProcessConnector,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    agents::registration,
    changes::{all, host_on, patch},
    given::{Given, host, server, server_on_sqlite, upstream},
};

/// Makes an agent that may connect with the token.
async fn agent(server: &Given, of: WorkspaceId, env: &str) -> (AgentId, Secret<String>) {
    let labels = [("env".to_owned(), env.to_owned())].into();
    let new = NewRegistrationToken { name: env.into(), labels, expires_in_hours: 24 };
    let made = server.client.agents().create_token(of, &new).await.unwrap();
    (made.agent_id, made.token)
}

async fn connect(server: &Given, registration: Registration) -> AgentLink {
    let connector = InProcessConnector::new(server.mesh.gateway().clone());
    let mut link = connector.connect().await.unwrap();
    link.outgoing.send(AgentMessage::Registration(registration)).await.unwrap();
    let answer = link.incoming.next().await.unwrap().unwrap();
    assert!(matches!(answer, ServerMessage::Registered(_)), "{answer:?}");
    link
}

async fn next_config(link: &mut AgentLink) -> ConfigUpdate {
    match link.incoming.next().await.unwrap().unwrap() {
        ServerMessage::Config(update) => update.as_ref().clone(),
        other => panic!("{other:?}"),
    }
}

fn on(env: &str, host: NewVirtualHost) -> NewVirtualHost {
    let target_agents = NewTargetAgents {
        kind: Some("selector".into()),
        label_selector: Some(format!("env={env}")),
        agent_ids: None,
    };
    NewVirtualHost { target_agents, http2_enabled: true, ..host }
}

/// A file as a unified diff leaves it; `None` when nothing is left.
fn patched(old: Option<&String>, diff: &str) -> Option<String> {
    let old: Vec<_> = old.map(|it| it.split_inclusive('\n').collect()).unwrap_or_default();
    let (mut new, mut at) = (String::new(), 0);
    for line in diff.split_inclusive('\n').skip(2) {
        if let Some(hunk) = line.strip_prefix("@@ -") {
            let range = hunk.split(' ').next().unwrap();
            let (start, count) = range.split_once(',').unwrap_or((range, "1"));
            let start: usize = start.parse().unwrap();
            let begin = if count == "0" { start } else { start - 1 };
            new.extend(old[at..begin].iter().copied());
            at = begin;
        } else if let Some(added) = line.strip_prefix('+') {
            new.push_str(added);
        } else {
            assert_eq!(old[at], &line[1..], "what a diff leaves or removes is there");
            if line.starts_with(' ') {
                new.push_str(old[at]);
            }
            at += 1;
        }
    }
    new.extend(old[at..].iter().copied());
    (!new.is_empty()).then_some(new)
}

/// The files without the version that nginx answers, which differences leave out.
fn comparable(config: &AgentConfig) -> BTreeMap<String, String> {
    let ConfigVersion { version, checksum } = &config.desired;
    let mut files = config.files.clone();
    let main = files.get_mut("nginx.conf").unwrap();
    let line = format!("{version} {checksum}");
    assert_eq!(main.matches(&line).count(), 1, "{main}");
    *main = main.replace(&line, "0 ");
    files
}

/// Agents with two sorts of nginx, and a set that touches some of them.
async fn given(server: &Given, of: WorkspaceId) -> (Vec<AgentId>, AgentLink, NewChangeSet) {
    let (old_nginx, token) = agent(server, of, "prod").await;
    let mut agents = vec![old_nginx];
    for env in ["prod", "prod", "staging"] {
        agents.push(agent(server, of, env).await.0);
    }
    let link = connect(server, registration(&token)).await;
    let (hosts, upstreams) = (server.client.virtual_hosts(), server.client.upstreams());
    let up = upstreams.create(of, &upstream("old")).await.unwrap();
    hosts.create(of, &host("everywhere.example", 80)).await.unwrap();
    hosts.create(of, &on("staging", host("staging.example", 80))).await.unwrap();
    let moved = on("prod", host_on("moved.example", &up.id.to_string()));
    let moved = hosts.create(of, &moved).await.unwrap();
    let gone = hosts.create(of, &on("prod", host("gone.example", 8080))).await.unwrap();
    let by_ref = NewChangeSet::upstream_ref("new");
    let locations = json!({"locations": [{"path": "/", "upstream_id": by_ref}]});
    let set = NewChangeSet::new("move")
        .delete_virtual_host(gone.id, None)
        .create_virtual_host(&on("prod", host_on("new.example", &by_ref)))
        .update_virtual_host(moved.id, None, &patch(locations))
        .delete_upstream(up.id, None)
        .create_upstream_as("new", &upstream("new"));
    (agents, link, set)
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_tells_the_truth() {
    for server in [server().await, server_on_sqlite().await] {
        let of = server.workspace().await.id;
        let (agents, _link, set) = given(&server, of).await;
        let configs = async || {
            let mut configs = Vec::new();
            for id in &agents {
                configs.push(server.client.agents().config(*id).await.unwrap());
            }
            configs
        };
        let (state, before) = (all(&server, of).await, configs().await);
        let told = server.client.changes().dry_run(of, &set).await.unwrap();
        assert_eq!((all(&server, of).await, configs().await), (state, before.clone()));
        let preview = server.client.changes().preview(of, &set).await.unwrap();
        assert_eq!(preview.base, told.base);

        let groups = |of: &nxmesh_core::gateway::ChangePreview| -> Vec<_> {
            of.agents.iter().map(|it| (it.agent_ids.clone(), it.nginx.clone())).collect()
        };
        assert_eq!(groups(&preview), groups(&told));
        let nginx = |it: &nxmesh_core::gateway::AgentDiff| {
            (it.agent_ids.clone(), it.nginx.version.clone(), it.nginx.reported)
        };
        let seen: Vec<_> = told.agents.iter().map(nginx).collect();
        let expected = [
            (vec![agents[0]], "1.22.1".to_owned(), true),
            (vec![agents[1], agents[2]], "1.28.0".to_owned(), false),
        ];
        assert_eq!(seen, expected);
        assert!(told.further_agent_ids.is_empty());

        let applied = server.client.changes().apply(of, &set).await.unwrap();
        assert_eq!(applied.revision.number, told.base.next());
        // What is created has other ids than were told.
        let ids: Vec<_> = told.objects.iter().zip(&applied.changes).collect();
        let now = |text: &str| {
            ids.iter().fold(text.to_owned(), |text, (told, made)| {
                text.replace(&told.id.to_string(), &made.id.to_string())
            })
        };
        for (told, made) in &ids {
            let made = json!(made);
            let after = made.get("virtual_host").or(made.get("upstream"));
            let name = |it: Option<&Value>| it.map(|it| it["name"].clone());
            assert_eq!(name(told.after.as_ref()), name(after));
        }
        let kinds: Vec<_> = told.objects.iter().map(|it| it.kind).collect();
        let (a_host, an_upstream) = (ObjectKind::VirtualHost, ObjectKind::Upstream);
        assert_eq!(kinds, [a_host, a_host, a_host, an_upstream, an_upstream]);
        for (before, after) in before.iter().zip(configs().await) {
            let diff = told.agents.iter().find(|it| it.agent_ids.contains(&after.agent_id));
            let changes = diff.map(|it| it.files.as_slice()).unwrap_or_default();
            let mut expected = comparable(before);
            for change in changes {
                let (path, diff) = (now(&change.path), now(&change.diff));
                match patched(expected.get(&path), &diff) {
                    Some(text) => expected.insert(path, text),
                    None => expected.remove(&path),
                };
            }
            assert_eq!(expected, comparable(&after));
            let same = before.desired.checksum == after.desired.checksum;
            assert_eq!((same, changes.is_empty()), (diff.is_none(), diff.is_none()));
        }
    }
}

#[tokio::test]
async fn whoever_may_only_read_may_preview() {
    let server = server().await;
    let workspace = server.workspace().await;
    let new = NewApiKey {
        organization_id: workspace.organization_id,
        name: "viewer".into(),
        role: Role::Viewer,
        expires_at: None,
    };
    let key = server.client.api_keys().create(&new).await.unwrap().key;
    let viewer = Client::builder(&server.base).api_key(key.expose()).build().unwrap();
    let set = NewChangeSet::new("new").create_upstream(&upstream("new"));
    let preview = viewer.changes().preview(workspace.id, &set).await.unwrap();
    assert_eq!((preview.base.0, preview.objects.len()), (0, 1));
    for refused in [
        viewer.changes().dry_run(workspace.id, &set).await.unwrap_err(),
        viewer.changes().apply(workspace.id, &set).await.unwrap_err(),
    ] {
        assert_eq!(refused.api().map(|it| it.status), Some(403));
    }
}

#[tokio::test]
async fn a_dry_run_is_asked_for_in_one_way_only() {
    let server = server().await;
    let of = server.workspace().await.id;
    let set = json!(NewChangeSet::new("new").create_upstream(&upstream("new")));
    for (query, field) in [
        ("dry_run=false", "dry_run"),
        ("dry_run=1", "dry_run"),
        ("dry_run=", "dry_run"),
        ("dry_run=TRUE", "dry_run"),
        ("dryrun=true", "dryrun"),
        ("dry_run=true&page=1", "page"),
    ] {
        let path = format!("/v1/workspaces/{of}/changes?{query}");
        let answer = server.send(Method::POST, &path, Some(set.clone())).await;
        assert_eq!(answer.refusal(), (422, "VALIDATION_ERROR", vec![field]), "{query}");
    }
    let revisions = format!("/v1/workspaces/{of}/revisions");
    assert_eq!(server.send(Method::GET, &revisions, None).await.body["meta"]["total"], 0);
}

/// Says what became of an update, and waits until it is known.
async fn settle(server: &Given, id: AgentId, link: &AgentLink, update: &ConfigUpdate) {
    let report = ConfigStatus::of(update, ApplyStatus::Success, DateTime::UNIX_EPOCH);
    link.outgoing.send(AgentMessage::ConfigStatus(report)).await.unwrap();
    running(server, id, Some(&named(update))).await;
}

fn named(update: &ConfigUpdate) -> ConfigVersion {
    ConfigVersion { version: update.version, checksum: update.checksum.clone() }
}

/// Waits until the agent is known to run this.
async fn running(server: &Given, id: AgentId, what: Option<&ConfigVersion>) -> AgentConfig {
    for _ in 0..1000 {
        let config = server.client.agents().config(id).await.unwrap();
        if config.running.as_ref() == what {
            return config;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what:?}");
}

#[tokio::test]
async fn the_configuration_of_an_agent_says_what_it_should_run_and_what_it_runs() {
    for server in [server().await, server_on_sqlite().await] {
        let of = server.workspace().await.id;
        let hosts = server.client.virtual_hosts();
        let made = hosts.create(of, &on("prod", host("a.example", 80))).await.unwrap();
        let (id, token) = agent(&server, of, "prod").await;
        let unknown = server.client.agents().config(id).await.unwrap();
        assert_eq!((&unknown.running, unknown.nginx.reported), (&None, false));
        assert!(unknown.hidden_files.is_empty());
        let listen = |config: &AgentConfig| {
            let file = &config.files[&format!("virtual-hosts/{}.conf", made.id)];
            file.lines().find(|it| it.contains("listen")).unwrap().trim().to_owned()
        };
        assert_eq!(listen(&unknown), "listen 80;");

        let mut link = connect(&server, registration(&token)).await;
        let update = next_config(&mut link).await;
        let config = server.client.agents().config(id).await.unwrap();
        assert_eq!((&config.desired, &config.running), (&named(&update), &None));
        assert_eq!((config.nginx.version.as_str(), config.nginx.reported), ("1.22.1", true));
        assert_eq!(listen(&config), "listen 80 http2;", "as that nginx wants it");
        let main = &config.files["nginx.conf"];
        let line = format!("{} {}", update.version, update.checksum);
        assert!(main.contains(&line), "{main}");
        settle(&server, id, &link, &update).await;

        // What does not concern it leaves it where it is.
        hosts.create(of, &on("staging", host("b.example", 80))).await.unwrap();
        let same = server.client.agents().config(id).await.unwrap();
        assert_eq!((&same.desired, &same.running), (&named(&update), &Some(named(&update))));
        assert_eq!(same.files, config.files);

        hosts.create(of, &on("prod", host("c.example", 80))).await.unwrap();
        let behind = server.client.agents().config(id).await.unwrap();
        assert_eq!(behind.running, Some(named(&update)));
        assert_eq!((behind.desired.version.0, behind.files.len()), (4, config.files.len() + 1));
        let next = next_config(&mut link).await;
        assert_eq!(behind.desired, named(&next));
        settle(&server, id, &link, &next).await;

        // It says itself what it runs, whatever it was sent.
        let report = HealthReport {
            config_checksum: "other".into(),
            config_version: update.version,
            ..HealthReport::default()
        };
        link.outgoing.send(AgentMessage::Health(report)).await.unwrap();
        let other = ConfigVersion { version: update.version, checksum: "other".into() };
        let astray = running(&server, id, Some(&other)).await;
        assert_eq!(astray.desired, named(&next));
        link.outgoing.send(AgentMessage::Health(HealthReport::default())).await.unwrap();
        running(&server, id, None).await;
    }
}

#[tokio::test]
async fn a_stranger_sees_no_configuration() {
    let server = server().await;
    let of = server.workspace().await.id;
    let (id, _) = agent(&server, of, "prod").await;
    let stranger = server.stranger().await;
    assert!(stranger.agents().config(id).await.unwrap_err().is_not_found());
    let set = NewChangeSet::new("new").create_upstream(&upstream("new"));
    assert!(stranger.changes().preview(of, &set).await.unwrap_err().is_not_found());
}
