//! Simulated agents are to the control plane what agents of that conduct are.

#![cfg(feature = "simulated")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{sync::Arc, time::Duration};

use nxmesh_core::{
    Actor, IfMatch, MergePatch, Mesh, Secret,
    gateway::{Agent, AgentId, NewLocation, NewRegistrationToken, NewVirtualHost, VirtualHostId},
    simulated::{Failing, SimulatedAgent},
    store::memory::MemoryStore,
    tenancy::{NewOrganization, NewWorkspace},
    transport::in_process::InProcessConnector,
};
use serde_json::json;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// A control plane, and one agent that serves one virtual host.
struct Given {
    mesh: Mesh,
    actor: Actor,
    host: VirtualHostId,
    id: AgentId,
    agent: SimulatedAgent,
}

async fn given() -> Given {
    let mesh = Mesh::builder().store(MemoryStore::new());
    let mesh = mesh.heartbeat_interval(Duration::from_secs(1)).build().await.unwrap();
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
    let location =
        NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
    let host = NewVirtualHost {
        name: "shop".into(),
        server_name: "shop.example".into(),
        listen_port: 80,
        locations: vec![location],
        ..NewVirtualHost::default()
    };
    let host = mesh.gateway().virtual_hosts().create(&actor, workspace, host).await.unwrap();
    let connector = Arc::new(InProcessConnector::new(mesh.gateway().clone()));
    let agent = SimulatedAgent::start(connector, token.token, None);
    let it = Given { mesh, actor, host: host.id, id: token.agent_id, agent };
    let shown = it.until("it to converge", |it| !it.convergence.lagging).await;
    let serves = (it.agent.state().version, it.agent.state().connections);
    assert_eq!((serves, shown.hostname.as_str()), ((host.revision.0, 1), "simulated"));
    it
}

impl Given {
    /// Changes the virtual host; answers the revision.
    async fn change(&self, to: &str) -> u64 {
        let hosts = self.mesh.gateway().virtual_hosts();
        let patch = MergePatch::new(json!({"server_name": to})).unwrap();
        hosts.update(&self.actor, self.host, &patch, &IfMatch::Any).await.unwrap().revision.0
    }

    /// Waits until the control plane shows the agent so.
    async fn until(&self, what: &str, so: impl Fn(&Agent) -> bool + Send + Sync) -> Agent {
        let look = async {
            loop {
                let shown = self.mesh.gateway().agents().get(&self.actor, self.id).await.unwrap();
                if so(&shown) {
                    return shown;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    async fn end(self) {
        drop(self.agent);
        self.mesh.shutdown().await;
    }
}

#[tokio::test]
async fn what_it_refuses_is_behind_with_an_error_and_what_comes_next_is_not() {
    let given = given().await;
    let before = given.agent.state().version;
    given.agent.conduct(|it| it.refuses = Some(before + 1));
    assert_eq!(given.change("bad.example").await, before + 1);
    let shown = given.until("it to refuse", |it| it.convergence.error.is_some()).await;
    assert_eq!(shown.convergence.error.as_deref(), Some("nginx: [emerg] simulated"));
    assert_eq!((shown.convergence.lagging, given.agent.state().version), (true, before));
    assert!(given.agent.state().refusals > 0);
    let mended = given.change("good.example").await;
    given.until("it to converge", |it| !it.convergence.lagging).await;
    assert_eq!(given.agent.state().version, mended);
    given.end().await;
}

#[tokio::test]
async fn what_it_holds_back_is_named_until_it_does_no_more() {
    let given = given().await;
    let before = given.agent.state().version;
    given.agent.conduct(|it| it.holds_back = Some(given.host));
    given.change("bad.example").await;
    let shown = given.until("it to hold back", |it| it.quarantined_total == 1).await;
    let held = &shown.quarantined[0];
    assert_eq!((held.id, held.name.as_str()), (*given.host.as_uuid(), "shop"));
    assert_eq!(held.running_revision.map(|it| it.0), Some(before));
    assert!(shown.convergence.lagging && given.agent.state().holds_back);
    given.agent.conduct(|it| it.holds_back = None);
    given.change("good.example").await;
    given.until("all to be live", |it| it.quarantined_total == 0).await;
    given.until("it to converge", |it| !it.convergence.lagging).await;
    assert!(!given.agent.state().holds_back);
    given.end().await;
}

#[tokio::test]
async fn one_that_dies_or_is_cut_off_comes_back_and_has_it_then() {
    let given = given().await;
    let next = given.agent.state().version + 1;
    given.agent.conduct(|it| it.dies_with = Some(next));
    assert_eq!(given.change("second.example").await, next);
    let state = timeout(PATIENCE, given.agent.until(|it| it.version == next)).await.unwrap();
    assert_eq!((state.deaths, state.connections), (1, 2));
    given.agent.conduct(|it| it.breaks_after = Some(Duration::from_millis(50)));
    let often = given.agent.until(|it| it.connections > 4);
    timeout(PATIENCE, often).await.unwrap();
    given.agent.conduct(|it| it.breaks_after = None);
    let third = given.change("third.example").await;
    timeout(PATIENCE, given.agent.until(|it| it.version == third)).await.unwrap();
    assert_eq!(given.agent.state().deaths, 1);
    given.end().await;
}

#[tokio::test]
async fn a_slow_one_reports_meanwhile_and_what_it_answers_is_counted() {
    let given = given().await;
    let before = given.agent.state().version;
    given.agent.conduct(|it| {
        it.apply_takes = Duration::from_secs(3600);
        it.requests_per_second = 100_000;
        it.failing = Some(Failing { revision: before + 1, percent: 50 });
    });
    given.change("second.example").await;
    let answers =
        |it: &Agent| it.health.as_ref().and_then(|it| Some((it.requests?, it.responses_5xx)));
    // It reports while it applies, and does not fail before it serves what fails.
    let acknowledged = |it: &Agent| it.convergence.acknowledged.as_ref().map(|it| it.revision.0);
    let under_way =
        |it: &Agent| acknowledged(it) == Some(before + 1) && answers(it).is_some_and(|it| it.0 > 0);
    let shown = given.until("an apply under way, and answers", under_way).await;
    assert_eq!((answers(&shown).unwrap().1, given.agent.state().version), (0, before));
    given.agent.conduct(|it| it.apply_takes = Duration::ZERO);
    let failed = given.until("failures", |it| answers(it).is_some_and(|it| it.1 > 0)).await;
    let (requests, failed) = answers(&failed).unwrap();
    assert!(failed < requests, "{failed} of {requests}");
    given.end().await;
}
