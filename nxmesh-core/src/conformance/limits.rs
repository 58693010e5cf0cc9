//! What all storage contracts promise of extremes: large values, foreign scripts, and calls
//! that are given up.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::{future::poll_fn, sync::Arc, task::Poll};

use serde_json::json;

use super::given::{
    agent, at, change, id, stored_organization, stored_user, stored_workspace, upstream, user,
    virtual_host,
};
use crate::{
    ErrorKind, PageRequest, Trail, from_json,
    gateway::{
        AgentName, AgentSpec, AgentStatus, GatewayWrite, MAX_LOCATIONS, MAX_SERVERS, NewUpstream,
        NewVirtualHost, Upstream, VirtualHost,
    },
    store::Stores,
    tenancy::{Email, OrganizationName, Role, TenancyChange, User},
};

/// Text that a store may stumble over: quotes, escapes, control characters in JSON,
/// characters outside the first plane, and both ends of Unicode.
const ODD: &str =
    "'\"\\%_$1 \u{1}\u{7f} ñandú Ω ﷽ 漢字 e\u{301} \u{202e}rtl 🦀👩‍👩‍👧 \u{ffff}\u{10ffff}";

pub async fn any_text_is_kept_as_it_is(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let made = agent(workspace.id, "a", 0);
    let writes = vec![GatewayWrite::PutAgent(Arc::new(made.clone()))];
    let mut create = change(workspace.id, 0, writes);
    create.steps[0].revision.reason = ODD.to_owned();
    stores.gateway.commit(create.clone()).await.unwrap();
    let revision = create.steps.remove(0).revision;
    let found = stores.gateway.revision(workspace.id, revision.number).await.unwrap();
    assert_eq!(found, Some(revision));
    let status = AgentStatus { hostname: format!("{ODD}\0"), ..AgentStatus::default() };
    stores.gateway.open_agent_session(made.id, id(), &status, Vec::new()).await.unwrap();
    assert_eq!(stores.gateway.agent(made.id).await.unwrap().unwrap().status, status);
    let name = OrganizationName::parse("ñ漢🦀 \u{202e}'\"\\%_").unwrap();
    let (made, owner) = stored_organization(stores, "other").await;
    let renamed = crate::tenancy::Organization { name, version: 2, ..made };
    let change = TenancyChange::UpdateOrganization { organization: renamed.clone(), base: 1 };
    stores.tenancy.commit(change, Trail::default()).await.unwrap();
    assert_eq!(
        stores.tenancy.organization(renamed.id, owner).await.unwrap(),
        Some((renamed, Role::Owner))
    );
}

/// Each as large as its limits allow.
fn largest(host: &VirtualHost, upstream: &Upstream) -> (VirtualHost, Upstream) {
    let long = "ü".repeat(100);
    let headers: Vec<_> = (0..20)
        .map(|it| json!({"name": format!("X-{it}-{}", "a".repeat(50)), "value": long}))
        .collect();
    let locations: Vec<_> = (0..MAX_LOCATIONS)
        .map(|it| json!({"path": format!("/{it}/{long}"), "root": "/srv", "custom_headers": headers}))
        .collect();
    let body = json!({"name": "largest", "server_name": "largest.example", "listen_port": 65535, "locations": locations});
    let (spec, target_agents) =
        from_json::<NewVirtualHost>(body).and_then(NewVirtualHost::parse).unwrap();
    let host = VirtualHost { spec: Arc::new(spec), target_agents, ..host.clone() };
    let servers: Vec<_> = (0..MAX_SERVERS)
        .map(|it| json!({"address": format!("10.{}.{}.1:65535", it / 256, it % 256), "weight": 1}))
        .collect();
    let body = json!({"name": "largest", "servers": servers});
    let spec = from_json::<NewUpstream>(body).and_then(NewUpstream::parse).unwrap();
    (host, Upstream { spec: Arc::new(spec), ..upstream.clone() })
}

pub async fn the_largest_objects_are_kept(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let (host, upstream) =
        largest(&virtual_host(workspace.id, "a", 0), &upstream(workspace.id, "a", 0));
    assert!(serde_json::to_string(&host).unwrap().len() > 200_000, "the limits have shrunk");
    let name = AgentName::parse("ü".repeat(200)).unwrap();
    let agent = AgentSpec { name, ..agent(workspace.id, "a", 0) };
    let writes = vec![
        GatewayWrite::PutUpstream(Arc::new(upstream.clone())),
        GatewayWrite::PutVirtualHost(Arc::new(host.clone())),
        GatewayWrite::PutAgent(Arc::new(agent.clone())),
    ];
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    assert_eq!(stores.gateway.virtual_host(host.id).await.unwrap(), Some(host));
    assert_eq!(stores.gateway.upstream(upstream.id).await.unwrap(), Some(upstream));
    assert_eq!(stores.gateway.agent(agent.id).await.unwrap().unwrap().spec, agent);
}

pub async fn a_change_of_a_thousand_objects_is_one_change(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let hosts: Vec<_> = (0..1000)
        .map(|it| Arc::new(virtual_host(workspace.id, &format!("host{it}"), it)))
        .collect();
    let writes = hosts.iter().cloned().map(GatewayWrite::PutVirtualHost).collect();
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    let last = PageRequest::new(10, 100).unwrap();
    let page = stores.gateway.virtual_hosts(workspace.id, last).await.unwrap();
    assert_eq!(page.meta.total, 1000);
    assert!(page.data.iter().eq(hosts[900..].iter().map(AsRef::as_ref)));
    let writes = hosts.iter().map(|it| GatewayWrite::DeleteVirtualHost(it.id)).collect();
    stores.gateway.commit(change(workspace.id, 1, writes)).await.unwrap();
    let snapshot = stores.gateway.snapshot(workspace.id).await.unwrap().unwrap();
    assert_eq!((snapshot.revision().0, snapshot.virtual_hosts().len()), (2, 0));
}

/// Begins a call, goes on with it `polls` times, and gives it up. Whether it was finished.
async fn give_up_after<T>(polls: usize, call: impl Future<Output = T>) -> bool {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        call.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// More than any call ever waits.
const MOST_POLLS: usize = 12;

pub async fn a_commit_that_is_given_up_is_whole_or_nothing(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    for polls in (0..MOST_POLLS).flat_map(|it| [it; 4]) {
        let host = Arc::new(virtual_host(workspace.id, "a", 0));
        let upstream = Arc::new(upstream(workspace.id, "a", 0));
        let writes = vec![
            GatewayWrite::PutVirtualHost(Arc::clone(&host)),
            GatewayWrite::PutUpstream(Arc::clone(&upstream)),
        ];
        let base = stores.gateway.heads(&[workspace.id]).await.unwrap()[&workspace.id].0;
        let finished =
            give_up_after(polls, stores.gateway.commit(change(workspace.id, base, writes))).await;
        let snapshot = stores.gateway.snapshot(workspace.id).await.unwrap().unwrap();
        let there = (
            snapshot.virtual_hosts().contains_key(&host.id),
            snapshot.upstreams().contains_key(&upstream.id),
        );
        let done = snapshot.revision().0 > base;
        assert!(there == (done, done) && (done || !finished), "{polls}: {there:?}, {done}");
    }
    let host = Arc::new(virtual_host(workspace.id, "last", 0));
    loop {
        // What was given up may still be on its way.
        let base = stores.gateway.heads(&[workspace.id]).await.unwrap()[&workspace.id].0;
        let write = GatewayWrite::PutVirtualHost(Arc::clone(&host));
        match stores.gateway.commit(change(workspace.id, base, vec![write])).await {
            Ok(()) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Stale),
        }
    }
    assert!(stores.gateway.virtual_host(host.id).await.unwrap().is_some());
}

pub async fn a_change_of_tenancy_that_is_given_up_is_whole_or_nothing(stores: &Stores) {
    let owner = stored_user(stores, "owner@example.com").await;
    for (number, polls) in (0..MOST_POLLS).flat_map(|it| [it; 4]).enumerate() {
        let created = User { email: email(number), ..user("a@b.c") };
        let create = TenancyChange::CreateUser(created.clone());
        give_up_after(polls, stores.tenancy.commit(create, Trail::default())).await;
        let organization = super::given::organization(&format!("slug{number}"), 0);
        let create =
            TenancyChange::CreateOrganization { organization: organization.clone(), owner };
        give_up_after(polls, stores.tenancy.commit(create.clone(), Trail::default())).await;
        // Done again it succeeds, or collides with itself; either way it is there afterwards.
        if let Err(error) = stores.tenancy.commit(create, Trail::default()).await {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
        let found = stores.tenancy.organization(organization.id, owner).await.unwrap();
        assert_eq!(found, Some((organization, Role::Owner)), "an organization without its member");
    }
}

fn email(number: usize) -> Email {
    Email::parse(format!("user{number}@example.com")).unwrap()
}

pub async fn reads_that_are_given_up_harm_no_later_one(stores: &Stores) {
    let (workspace, owner) = stored_workspace(stores).await;
    let made = agent(workspace.id, "a", 0);
    let writes = vec![GatewayWrite::PutAgent(Arc::new(made.clone()))];
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    for polls in (0..MOST_POLLS).flat_map(|it| [it; 8]) {
        give_up_after(polls, stores.gateway.snapshot(workspace.id)).await;
        give_up_after(polls, stores.tenancy.workspace(workspace.id, owner)).await;
        give_up_after(polls, stores.gateway.open_agent_session(made.id, id(), &seen(), Vec::new()))
            .await;
        let found = stores.tenancy.workspace(workspace.id, owner).await.unwrap();
        assert_eq!(found, Some((workspace.clone(), Role::Owner)));
        assert_eq!(stores.gateway.agent(made.id).await.unwrap().unwrap().spec, made);
    }
}

fn seen() -> AgentStatus {
    AgentStatus { last_seen_at: Some(at(1)), ..AgentStatus::default() }
}
