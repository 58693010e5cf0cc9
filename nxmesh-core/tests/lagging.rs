//! Agents that are behind for long are talked of, once, and once more when they have caught up.

#![cfg(feature = "conformance")]
#![expect(
    clippy::unwrap_used,
    clippy::future_not_send,
    reason = "a test on one thread that cannot go on has failed"
)]

use std::time::Duration;

use futures::StreamExt;
use nxmesh_core::{
    Actor, Mesh, Secret,
    events::EventId,
    gateway::{
        ConfigUpdate, NewRegistrationToken,
        link::{
            AgentLink, AgentMessage, ApplyStatus, ConfigStatus, Connector, Registration,
            ServerMessage,
        },
    },
    store::{Stores, memory::MemoryStore},
    tenancy::{NewOrganization, NewWorkspace},
    transport::in_process::InProcessConnector,
};

async fn next(link: &mut AgentLink) -> std::sync::Arc<ConfigUpdate> {
    loop {
        if let ServerMessage::Config(update) = link.incoming.next().await.unwrap().unwrap() {
            return update;
        }
    }
}

async fn tell(link: &AgentLink, of: &ConfigUpdate, status: ApplyStatus) {
    let report = ConfigStatus {
        error_message: "nginx said no".to_owned(),
        ..ConfigStatus::of(of, status, chrono::DateTime::UNIX_EPOCH)
    };
    link.outgoing.send(AgentMessage::ConfigStatus(report)).await.unwrap();
}

/// What of this sort was told so far.
async fn told(stores: &Stores, sorts: &[&str]) -> Vec<(String, serde_json::Value)> {
    let events = stores.events.events_after(EventId(0), 1000).await.unwrap();
    let events = events.into_iter().map(|it| it.event);
    let meant = events.filter(|it| sorts.contains(&it.event_type.as_str()));
    meant.map(|it| (it.event_type.as_str().to_owned(), it.data.into())).collect()
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_behind_for_long_is_told_of_once_and_so_is_its_catching_up() {
    let stores = Stores::from(MemoryStore::new());
    // No heartbeat is due while it is looked at.
    let mesh = Mesh::builder().store(stores.clone()).heartbeat_interval(Duration::from_secs(3600));
    let mesh = mesh.build().await.unwrap();
    let users = mesh.tenancy().users();
    let user = users.create("a@example.com", Secret::random_password()).await.unwrap();
    let actor = Actor::user(user.id);
    let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = mesh.tenancy().organizations().create(&actor, new).await.unwrap();
    let new =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    let workspaces = mesh.tenancy().workspaces();
    let workspace = workspaces.create(&actor, organization.id, new).await.unwrap().id;
    let new =
        NewRegistrationToken { name: "a".into(), labels: Default::default(), expires_in_hours: 1 };
    let token = mesh.gateway().agents().create_token(&actor, workspace, new).await.unwrap();
    let connector = InProcessConnector::new(mesh.gateway().clone());
    let mut link = connector.connect().await.unwrap();
    let registration = Registration {
        token: token.token,
        hostname: "a".into(),
        ip_address: String::new(),
        version: String::new(),
        capabilities: Vec::new(),
        labels: Default::default(),
        deployment_mode: Default::default(),
        config_checksum: String::new(),
        config_version: Default::default(),
        nginx_version: String::new(),
    };
    link.outgoing.send(AgentMessage::Registration(registration)).await.unwrap();
    let lag = ["agent.lagging", "agent.converged"];
    // It refuses for a minute and a half; each time it is sent again.
    let begun = tokio::time::Instant::now();
    let mut update = next(&mut link).await;
    while begun.elapsed() < Duration::from_secs(90) {
        if begun.elapsed() < Duration::from_secs(25) {
            assert!(told(&stores, &lag).await.is_empty(), "after {:?}", begun.elapsed());
        }
        tell(&link, &update, ApplyStatus::Failed).await;
        update = next(&mut link).await;
    }
    let events = told(&stores, &lag).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let (sort, data) = &events[0];
    assert_eq!(sort, "agent.lagging");
    assert_eq!(data["desired"]["revision"], 1);
    assert_eq!((&data["verified"], &data["error_message"]), (&().into(), &"nginx said no".into()));
    assert!(data["attempts"].as_u64().unwrap() > 3);
    assert!(mesh.figures().await.agents.longest_behind_seconds >= 90);
    tell(&link, &update, ApplyStatus::Success).await;
    while told(&stores, &lag).await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (sort, data) = &told(&stores, &lag).await[1];
    assert_eq!((sort.as_str(), &data["revision"]), ("agent.converged", &1.into()));
    assert!(data["behind_seconds"].as_u64().unwrap() >= 90);
    while mesh.figures().await.agents.longest_behind_seconds > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mesh.shutdown().await;
}
