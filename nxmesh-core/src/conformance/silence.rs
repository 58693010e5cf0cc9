//! What [`GatewayStore`](crate::gateway::GatewayStore) promises of agents that are not heard of,
//! and what becomes of those whose server died.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::given::{agent, at, change, event, id, registered, stored_workspace};
use crate::{
    Actor, ManualClock, Mesh, PageRequest, Secret,
    events::EventId,
    gateway::{
        AgentId, AgentQuery, AgentSpec, AgentState, AgentStatus, GatewayWrite,
        NewRegistrationToken, SessionId, SilentAgent, link::LinkHost, session::Silence,
    },
    store::Stores,
    tenancy::{MasterKey, OrganizationId, WorkspaceId},
    transport::in_process,
};
use chrono::TimeDelta;

const HEARTBEAT: Duration = Duration::from_secs(3600);

fn seen(connected: bool, seconds: i64) -> AgentStatus {
    let last_seen_at = Some(at(seconds));
    AgentStatus { connected, last_seen_at, hostname: "höst".into(), ..AgentStatus::default() }
}

async fn stored_agents<const N: usize>(
    stores: &Stores,
    names: [&str; N],
) -> (OrganizationId, [AgentSpec; N]) {
    let (workspace, _) = stored_workspace(stores).await;
    let agents = names.map(|it| agent(workspace.id, it, 0));
    let writes = agents.iter().map(|it| GatewayWrite::PutAgent(Arc::new(it.clone()))).collect();
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    (workspace.organization_id, agents)
}

async fn open(stores: &Stores, agent: &AgentSpec, status: &AgentStatus) -> SessionId {
    let session = id();
    let opened = stores.gateway.open_agent_session(agent.id, session, status, Vec::new()).await;
    assert!(opened.unwrap());
    session
}

async fn record(stores: &Stores, agent: &AgentSpec, session: SessionId, status: &AgentStatus) {
    let recorded = stores.gateway.record_agent_status(agent.id, session, status, Vec::new()).await;
    assert!(recorded.unwrap());
}

pub async fn agents_are_silent_until_they_are_heard_of(stores: &Stores) {
    let names = ["never", "gone", "here", "late", "later"];
    let (organization_id, [_never, gone, here, late, later]) = stored_agents(stores, names).await;
    open(stores, &gone, &seen(false, 1)).await;
    open(stores, &here, &seen(true, 100)).await;
    let second = open(stores, &later, &seen(true, 49)).await;
    let first = open(stores, &late, &seen(true, 2)).await;
    let silent = async |before, most| stores.gateway.silent_agents(at(before), most).await.unwrap();
    let found = |agent: &AgentSpec, session, seconds| SilentAgent {
        agent: crate::gateway::AgentRecord {
            spec: agent.clone(),
            status: seen(true, seconds),
            session: Some(session),
        },
        organization_id,
        heard_at: at(seconds),
    };
    assert_eq!(silent(50, 10).await, [found(&late, first, 2), found(&later, second, 49)]);
    assert_eq!(silent(50, 1).await, [found(&late, first, 2)]);
    assert_eq!(silent(2, 10).await, []);
    record(stores, &late, first, &seen(true, 60)).await;
    assert_eq!(silent(50, 10).await, [found(&later, second, 49)]);
    record(stores, &later, second, &seen(false, 49)).await;
    assert_eq!(silent(50, 10).await, []);
}

pub async fn a_silent_session_is_ended_only_as_it_was_found(stores: &Stores) {
    let (of, [silent, heard, replaced, deleted]) =
        stored_agents(stores, ["silent", "heard", "replaced", "deleted"]).await;
    let workspace = silent.workspace_id;
    let mut sessions = Vec::new();
    for agent in [&silent, &heard, &replaced, &deleted] {
        sessions.push(open(stores, agent, &seen(true, 1)).await);
    }
    let found = stores.gateway.silent_agents(at(50), 10).await.unwrap();
    assert_eq!(found.len(), 4);
    record(stores, &heard, sessions[1], &seen(true, 60)).await;
    open(stores, &replaced, &seen(true, 1)).await;
    let delete = vec![GatewayWrite::DeleteAgent(deleted.id)];
    stores.gateway.commit(change(workspace, 1, delete)).await.unwrap();
    let by: SessionId = id();
    for _ in 0..2 {
        for (found, ended) in found.iter().zip([true, false, false, false]) {
            let name = format!("agent.{}", found.agent.spec.name);
            let (status, events) = (seen(false, 1), vec![event(of, &name, 1)]);
            let before = stores.gateway.agent(found.agent.spec.id).await.unwrap();
            let ended = ended && before.as_ref().is_some_and(|it| it.session != Some(by));
            let done = stores.gateway.end_silent_session(found, by, &status, events).await;
            assert_eq!(done.unwrap(), ended, "{name}");
            let after = stores.gateway.agent(found.agent.spec.id).await.unwrap();
            assert!(ended || after == before, "{name}");
        }
    }
    let left = stores.gateway.agent(silent.id).await.unwrap().unwrap();
    assert_eq!((left.session, left.status), (Some(by), seen(false, 1)));
    let status = seen(true, 61);
    let late = stores.gateway.record_agent_status(silent.id, sessions[0], &status, vec![]).await;
    assert!(!late.unwrap(), "it holds the agent no longer");
    let events = stores.events.events_after(EventId(0), 100).await.unwrap();
    let events: Vec<_> = events.iter().map(|it| it.event.event_type.to_string()).collect();
    assert_eq!(events, ["agent.silent"]);
}

pub async fn agents_of_a_server_that_died_are_told_of_once(stores: &Stores) {
    let (workspace, owner) = stored_workspace(stores).await;
    let (workspace, actor, clock) = (workspace.id, Actor::user(owner), ManualClock::new(at(0)));
    let key = MasterKey::generate();
    let server = async || {
        let mesh = Mesh::builder().store(stores.clone()).clock(clock.clone());
        mesh.master_key(key.clone()).heartbeat_interval(HEARTBEAT).build().await.unwrap()
    };
    let (dying, living) = (server().await, server().await);
    let mut agents = BTreeMap::new();
    let mut links = Vec::new();
    let mut sessions = Vec::new();
    for name in ["away", "also away", "back"] {
        let (id, token) = token(&living, &actor, workspace, name).await;
        let (there, here) = in_process::pair();
        let mut session = Box::pin(dying.gateway().serve(there));
        let (link, credential) = tokio::select! {
            () = &mut session => panic!("{name} was not let in"),
            introduced = registered(here, token) => introduced,
        };
        let held = stores.gateway.agent(id).await.unwrap().unwrap().session.unwrap();
        agents.insert(name, (id, credential, held));
        sessions.push(session);
        links.push(link);
    }
    // Nothing more is done or said: what a process leaves that is killed.
    drop(sessions);

    clock.advance(TimeDelta::hours(3));
    let round = Silence::new(Arc::clone(&stores.gateway), Arc::new(clock.clone()), HEARTBEAT);
    for _ in 0..3 {
        round.round().await.unwrap();
    }
    assert_eq!(told(stores, "agent.disconnected").await, [], "three heartbeats are not over");
    clock.advance(TimeDelta::seconds(1));
    let connect = async |token| {
        let (there, here) = in_process::pair();
        living.gateway().attach(there);
        registered(here, token).await.0
    };
    let (there, fresh) = token(&living, &actor, workspace, "there").await;
    links.push(connect(fresh).await);
    round.round().await.unwrap();
    assert_eq!(told(stores, "agent.disconnected").await, [], "it may be the store that was away");
    links.push(connect(agents["back"].1.clone()).await);
    let other = Silence::new(Arc::clone(&stores.gateway), Arc::new(clock.clone()), HEARTBEAT);
    for _ in 0..3 {
        round.round().await.unwrap();
        other.round().await.unwrap();
    }
    let [away, also_away, back] = ["away", "also away", "back"].map(|it| agents[it].0);
    let gone = told(stores, "agent.disconnected").await;
    assert_eq!(sorted(gone), sorted([away, also_away]));
    assert_eq!(told(stores, "agent.connected").await, [away, also_away, back, there, back]);

    let list = async |state| {
        let page = PageRequest::default();
        let which = AgentQuery { state, ..AgentQuery::default() };
        let listed = living.gateway().agents().list(&actor, workspace, which, page).await;
        sorted(listed.unwrap().data.into_iter().map(|it| it.id))
    };
    assert_eq!(list(Some(AgentState::Offline)).await, sorted([away, also_away]));
    assert_eq!(list(Some(AgentState::Online)).await, sorted([back, there]));
    assert_eq!(list(None).await, sorted([away, also_away, back, there]));
    let status = seen(true, 1);
    for (id, _, session) in agents.values() {
        let late = stores.gateway.record_agent_status(*id, *session, &status, Vec::new()).await;
        assert!(!late.unwrap(), "a server that was only slow holds the agent no longer");
    }
    links.push(connect(agents["away"].1.clone()).await);
    assert_eq!(list(Some(AgentState::Online)).await, sorted([away, back, there]));
    assert_eq!(told(stores, "agent.connected").await.last(), Some(&away));
    living.shutdown().await;
    dying.shutdown().await;
}

/// Those that were made at one moment have ids in any order.
fn sorted(ids: impl IntoIterator<Item = AgentId>) -> Vec<AgentId> {
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort_unstable();
    ids
}

async fn token(
    mesh: &Mesh,
    actor: &Actor,
    of: WorkspaceId,
    name: &str,
) -> (AgentId, Secret<String>) {
    let new = serde_json::json!({"name": name});
    let new: NewRegistrationToken = crate::from_json(new).unwrap();
    let made = mesh.gateway().agents().create_token(actor, of, new).await.unwrap();
    (made.agent_id, made.token)
}

/// Of which agents there are such events, in order.
async fn told(stores: &Stores, event_type: &str) -> Vec<AgentId> {
    let events = stores.events.events_after(EventId(0), 1000).await.unwrap();
    let meant = events.into_iter().filter(|it| it.event.event_type.as_str() == event_type);
    meant.map(|it| serde_json::from_value(it.event.data["agent_id"].clone()).unwrap()).collect()
}
