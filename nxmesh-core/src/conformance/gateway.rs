//! What [`GatewayStore`](crate::gateway::GatewayStore) promises.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{
    PATIENCE,
    given::{agent, at, change, id, secret, step, stored_workspace, upstream, virtual_host},
};
use crate::{
    ErrorKind, PageRequest, Revision, RevisionNumber, TokenHash, Trail,
    gateway::{
        AgentFilter, AgentName, AgentSpec, AgentState, AgentStatus, GatewayChange, GatewayWrite,
        LabelSelector, Moved, News, Snapshot,
        drift::{DriftEnd, DriftEnded, DriftKind, DriftRecord, DriftedFile},
    },
    store::Stores,
    tenancy::{Cascade, Settings, TenancyChange, Workspace},
};

async fn refused(stores: &Stores, change: GatewayChange) -> ErrorKind {
    stores.gateway.commit(change).await.unwrap_err().kind()
}

/// What can be compared of a snapshot.
pub(super) fn content(snapshot: &Snapshot) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        snapshot.revision(),
        Arc::clone(snapshot.settings()),
        snapshot.virtual_hosts().clone(),
        snapshot.upstreams().clone(),
        snapshot.agents().clone(),
    )
}

pub async fn a_new_workspace_is_empty_at_revision_zero(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let snapshot = stores.gateway.snapshot(workspace.id).await.unwrap().unwrap();
    assert_eq!(
        content(&snapshot),
        content(&Snapshot::empty(workspace.id, workspace.organization_id))
    );
    assert!(stores.gateway.snapshot(id()).await.unwrap().is_none());
    assert!(stores.gateway.writes_since(id(), RevisionNumber(0)).await.unwrap().is_none());
}

pub async fn a_commit_is_read_back_whole(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let host = virtual_host(workspace.id, "a", 1);
    let upstream = upstream(workspace.id, "b", 2);
    let agent = agent(workspace.id, "c", 3);
    let writes = vec![
        GatewayWrite::PutUpstream(Arc::new(upstream.clone())),
        GatewayWrite::PutVirtualHost(Arc::new(host.clone())),
        GatewayWrite::PutAgent(Arc::new(agent.clone())),
    ];
    let token = secret(&agent, "token");
    let mut with_token = change(workspace.id, 0, writes.clone());
    with_token.steps[0].secret = Some(token.clone());
    stores.gateway.commit(with_token).await.unwrap();
    assert_eq!(stores.gateway.virtual_host(host.id).await.unwrap(), Some(host));
    assert_eq!(stores.gateway.upstream(upstream.id).await.unwrap(), Some(upstream));
    let found = stores.gateway.agent(agent.id).await.unwrap().unwrap();
    assert_eq!((found.spec, found.status), (agent, AgentStatus::default()));
    assert_eq!(stores.gateway.agent_secret(&token.hash).await.unwrap(), Some(token));
    let snapshot = stores.gateway.snapshot(workspace.id).await.unwrap().unwrap();
    let mut expected = Snapshot::empty(workspace.id, workspace.organization_id);
    expected.apply(RevisionNumber(1), writes);
    assert_eq!(content(&snapshot), content(&expected));
}

pub async fn a_commit_is_refused_when_the_workspace_moved_on(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    stores.gateway.commit(change(workspace.id, 0, Vec::new())).await.unwrap();
    assert_eq!(refused(stores, change(workspace.id, 0, Vec::new())).await, ErrorKind::Stale);
    assert_eq!(refused(stores, change(workspace.id, 2, Vec::new())).await, ErrorKind::Stale);
    stores.gateway.commit(change(workspace.id, 1, Vec::new())).await.unwrap();
}

pub async fn a_refused_commit_leaves_nothing(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    stores.gateway.commit(change(workspace.id, 0, Vec::new())).await.unwrap();
    let (host, agent) = (virtual_host(workspace.id, "a", 0), agent(workspace.id, "a", 0));
    let (host_id, agent_id) = (host.id, agent.id);
    let secret = secret(&agent, "token");
    let hash = secret.hash;
    let writes =
        vec![GatewayWrite::PutVirtualHost(Arc::new(host)), GatewayWrite::PutAgent(Arc::new(agent))];
    let mut stale = change(workspace.id, 0, writes);
    stale.steps[0].secret = Some(secret);
    assert_eq!(refused(stores, stale).await, ErrorKind::Stale);
    assert_eq!(stores.gateway.virtual_host(host_id).await.unwrap(), None);
    assert_eq!(stores.gateway.agent(agent_id).await.unwrap(), None);
    assert_eq!(stores.gateway.agent_secret(&hash).await.unwrap(), None);
    let since =
        stores.gateway.writes_since(workspace.id, RevisionNumber(0)).await.unwrap().unwrap();
    assert_eq!((since.revision, since.writes), (RevisionNumber(1), Some(Vec::new())));
}

pub async fn a_commit_to_a_workspace_that_is_gone_is_refused(stores: &Stores) {
    assert_eq!(refused(stores, change(id(), 0, Vec::new())).await, ErrorKind::NotFound);
}

pub async fn of_many_commits_on_one_base_one_wins(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let tries = (0..16).map(|number| {
        let host = Arc::new(virtual_host(workspace.id, &format!("host{number}"), 0));
        stores.gateway.commit(change(workspace.id, 0, vec![GatewayWrite::PutVirtualHost(host)]))
    });
    let done = futures::future::join_all(tries).await;
    let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    assert!(lost.into_iter().all(|it| it.unwrap_err().kind() == ErrorKind::Stale));
    let page = stores.gateway.virtual_hosts(workspace.id, PageRequest::default()).await.unwrap();
    assert_eq!(page.meta.total, 1);
}

pub async fn the_history_leads_from_any_revision_to_the_head(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let host = Arc::new(virtual_host(workspace.id, "a", 0));
    let upstream = Arc::new(upstream(workspace.id, "a", 0));
    let agent = Arc::new(agent(workspace.id, "a", 0));
    let steps = [
        vec![
            GatewayWrite::PutUpstream(Arc::clone(&upstream)),
            GatewayWrite::PutVirtualHost(Arc::clone(&host)),
        ],
        vec![GatewayWrite::PutAgent(Arc::clone(&agent))],
        vec![GatewayWrite::DeleteVirtualHost(host.id), GatewayWrite::DeleteUpstream(upstream.id)],
        vec![GatewayWrite::PutVirtualHost(Arc::clone(&host))],
        vec![GatewayWrite::DeleteAgent(agent.id)],
    ];
    let mut on_the_way = vec![Snapshot::empty(workspace.id, workspace.organization_id)];
    for (base, writes) in (0..).zip(steps) {
        stores.gateway.commit(change(workspace.id, base, writes)).await.unwrap();
        on_the_way.push(stores.gateway.snapshot(workspace.id).await.unwrap().unwrap());
    }
    let head = on_the_way.last().cloned().unwrap();
    for mut snapshot in on_the_way {
        let since =
            stores.gateway.writes_since(workspace.id, snapshot.revision()).await.unwrap().unwrap();
        snapshot.apply(since.revision, since.writes.unwrap());
        assert_eq!(content(&snapshot), content(&head));
    }
}

pub async fn each_revision_says_who_and_why(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let made = change(workspace.id, 0, Vec::new());
    stores.gateway.commit(made.clone()).await.unwrap();
    assert_eq!(
        stores.gateway.revision(workspace.id, RevisionNumber(1)).await.unwrap(),
        Some(made.steps[0].revision.clone())
    );
    assert_eq!(stores.gateway.revision(workspace.id, RevisionNumber(2)).await.unwrap(), None);
}

pub async fn virtual_hosts_are_listed_in_order_of_creation_in_pages(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let mut made: Vec<_> = [("c", 2), ("a", 1), ("d", 2), ("b", 0)]
        .map(|(name, at)| virtual_host(workspace.id, name, at))
        .into();
    let writes = made.iter().map(|it| GatewayWrite::PutVirtualHost(Arc::new(it.clone()))).collect();
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    made.sort_by_key(|it| (it.created_at, it.id));
    for (number, wanted) in [(1, &made[..3]), (2, &made[3..]), (3, &[])] {
        let page = stores
            .gateway
            .virtual_hosts(workspace.id, PageRequest::new(number, 3).unwrap())
            .await
            .unwrap();
        assert_eq!((page.data.as_slice(), page.meta.total), (wanted, 4));
    }
}

pub async fn upstreams_are_listed_in_order_of_creation_in_pages(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let mut made: Vec<_> =
        [("c", 2), ("a", 1), ("b", 0)].map(|(name, at)| upstream(workspace.id, name, at)).into();
    let writes = made.iter().map(|it| GatewayWrite::PutUpstream(Arc::new(it.clone()))).collect();
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    made.sort_by_key(|it| (it.created_at, it.id));
    let page =
        stores.gateway.upstreams(workspace.id, PageRequest::new(2, 2).unwrap()).await.unwrap();
    assert_eq!((page.data.as_slice(), page.meta.total), (&made[2..], 3));
}

fn seen(connected: bool, seconds: i64) -> AgentStatus {
    AgentStatus {
        connected,
        last_seen_at: Some(at(seconds)),
        hostname: "höst".into(),
        ..AgentStatus::default()
    }
}

pub async fn agents_are_listed_as_filtered(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let agents = [("never", 0), ("gone", 1), ("silent", 2), ("here", 3)]
        .map(|(name, at)| agent(workspace.id, name, at));
    let writes =
        agents.iter().rev().map(|it| GatewayWrite::PutAgent(Arc::new(it.clone()))).collect();
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    for (agent, status) in
        agents.iter().skip(1).zip([seen(false, 100), seen(true, 10), seen(true, 100)])
    {
        assert!(
            stores.gateway.open_agent_session(agent.id, id(), &status, Vec::new()).await.unwrap()
        );
    }
    let list = async |state, selector: Option<&str>, per_page| {
        let label_selector = selector.map(|it| LabelSelector::parse(it).unwrap());
        let filter = AgentFilter { state, label_selector, alive_since: at(50) };
        let page = PageRequest::new(1, per_page).unwrap();
        let page = stores.gateway.agents(workspace.id, &filter, page).await.unwrap();
        let names: Vec<_> = page.data.iter().map(|it| it.spec.name.to_string()).collect();
        (names.join(" "), page.meta.total)
    };
    assert_eq!(list(None, None, 10).await, ("never gone silent here".to_owned(), 4));
    assert_eq!(list(None, None, 3).await, ("never gone silent".to_owned(), 4));
    assert_eq!(list(Some(AgentState::Pending), None, 10).await, ("never".to_owned(), 1));
    assert_eq!(list(Some(AgentState::Offline), None, 10).await, ("gone silent".to_owned(), 2));
    assert_eq!(list(Some(AgentState::Online), None, 10).await, ("here".to_owned(), 1));
    assert_eq!(list(None, Some("name in (gone,here)"), 1).await, ("gone".to_owned(), 2));
    assert_eq!(list(Some(AgentState::Online), Some("name=gone"), 10).await, (String::new(), 0));
}

pub async fn an_agent_keeps_its_status_when_it_is_renamed(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let made = agent(workspace.id, "a", 0);
    let put = |agent: &AgentSpec| vec![GatewayWrite::PutAgent(Arc::new(agent.clone()))];
    stores.gateway.commit(change(workspace.id, 0, put(&made))).await.unwrap();
    let session = id();
    stores.gateway.open_agent_session(made.id, session, &seen(true, 1), Vec::new()).await.unwrap();
    let renamed = AgentSpec { name: AgentName::parse("b").unwrap(), ..made };
    stores.gateway.commit(change(workspace.id, 1, put(&renamed))).await.unwrap();
    let found = stores.gateway.agent(renamed.id).await.unwrap().unwrap();
    assert_eq!((found.spec, found.status), (renamed, seen(true, 1)));
    assert_eq!(found.session, Some(session));
}

pub async fn the_status_of_an_agent_that_is_gone_is_not_kept(stores: &Stores) {
    assert!(
        !stores.gateway.open_agent_session(id(), id(), &seen(true, 1), Vec::new()).await.unwrap()
    );
    assert!(
        !stores.gateway.record_agent_status(id(), id(), &seen(true, 1), Vec::new()).await.unwrap()
    );
}

pub async fn the_last_drift_of_an_agent_is_told_by_the_connection_that_holds_it(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let gateway = &stores.gateway;
    let made = agent(workspace.id, "a", 0);
    let put = vec![GatewayWrite::PutAgent(Arc::new(made.clone()))];
    gateway.commit(change(workspace.id, 0, put.clone())).await.unwrap();
    let (session, other) = (id(), id());
    gateway.open_agent_session(made.id, session, &seen(true, 1), Vec::new()).await.unwrap();
    assert_eq!(gateway.agent_drift(made.id).await.unwrap(), None);
    let record = |seconds| {
        let file = DriftedFile {
            path: "nginx.conf".into(),
            kind: DriftKind::Changed,
            since: at(seconds),
            diff: Some("-ä\n+'\\\n".into()),
            truncated: true,
        };
        let ended = Some(DriftEnded { at: at(seconds), by: DriftEnd::Hand });
        DriftRecord { detected_at: at(seconds), ended, files: vec![file], total: 21 }
    };
    assert!(gateway.record_agent_drift(made.id, session, &record(1)).await.unwrap());
    assert!(gateway.record_agent_drift(made.id, session, &record(2)).await.unwrap());
    assert!(!gateway.record_agent_drift(made.id, other, &record(3)).await.unwrap());
    assert!(!gateway.record_agent_drift(id(), session, &record(3)).await.unwrap());
    // Neither what callers decide nor what is told of the agent touches it.
    gateway.commit(change(workspace.id, 1, put)).await.unwrap();
    gateway.record_agent_status(made.id, session, &seen(true, 2), Vec::new()).await.unwrap();
    assert_eq!(gateway.agent_drift(made.id).await.unwrap(), Some(record(2)));
    let delete = vec![GatewayWrite::DeleteAgent(made.id)];
    gateway.commit(change(workspace.id, 2, delete)).await.unwrap();
    assert_eq!(gateway.agent_drift(made.id).await.unwrap(), None);
}

pub async fn a_deleted_agent_loses_its_secrets(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let made = agent(workspace.id, "a", 0);
    let secret = secret(&made, "token");
    let writes = vec![GatewayWrite::PutAgent(Arc::new(made.clone()))];
    let mut create = change(workspace.id, 0, writes);
    create.steps[0].secret = Some(secret.clone());
    stores.gateway.commit(create).await.unwrap();
    stores
        .gateway
        .commit(change(workspace.id, 1, vec![GatewayWrite::DeleteAgent(made.id)]))
        .await
        .unwrap();
    assert_eq!(stores.gateway.agent(made.id).await.unwrap(), None);
    assert_eq!(stores.gateway.agent_secret(&secret.hash).await.unwrap(), None);
}

pub async fn of_the_secrets_of_an_agent_one_is_kept(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let (made, other) = (agent(workspace.id, "a", 0), agent(workspace.id, "b", 0));
    let writes = [&made, &other].map(|it| GatewayWrite::PutAgent(Arc::new(it.clone()))).into();
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    for secret in [secret(&made, "1"), secret(&made, "2"), secret(&other, "3")] {
        assert!(stores.gateway.add_agent_secret(secret).await.unwrap());
    }
    assert!(stores.gateway.keep_only_agent_secret(made.id, &TokenHash::of("2")).await.unwrap());
    assert!(!stores.gateway.keep_only_agent_secret(made.id, &TokenHash::of("1")).await.unwrap());
    assert!(!stores.gateway.keep_only_agent_secret(made.id, &TokenHash::of("3")).await.unwrap());
    for (text, there) in [("1", false), ("2", true), ("3", true)] {
        assert_eq!(
            stores.gateway.agent_secret(&TokenHash::of(text)).await.unwrap().is_some(),
            there,
            "{text}"
        );
    }
}

pub async fn a_secret_needs_its_agent(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let nobody = secret(&agent(workspace.id, "a", 0), "1");
    assert!(!stores.gateway.add_agent_secret(nobody).await.unwrap());
    assert_eq!(stores.gateway.agent_secret(&TokenHash::of("1")).await.unwrap(), None);
}

/// Waits until something is heard of; fails when it is not.
async fn heard(news: &mut broadcast::Receiver<News>, wanted: News) {
    let hear = async { while news.recv().await.unwrap() != wanted {} };
    tokio::time::timeout(PATIENCE, hear).await.unwrap_or_else(|_| panic!("no news of {wanted:?}"));
}

pub async fn every_move_is_announced(stores: &Stores) {
    let (workspace, owner) = stored_workspace(stores).await;
    let mut news = stores.gateway.subscribe();
    let workspace_id = workspace.id;
    let moved = |revision| News::Moved(Moved { workspace_id, revision });
    stores.gateway.commit(change(workspace_id, 0, Vec::new())).await.unwrap();
    heard(&mut news, moved(Some(RevisionNumber(1)))).await;
    let number = RevisionNumber(2);
    let revision =
        Revision { workspace_id, number, author: owner, reason: String::new(), created_at: at(0) };
    let update = TenancyChange::UpdateWorkspace { workspace, base: RevisionNumber(1), revision };
    stores.tenancy.commit(update, Trail::default()).await.unwrap();
    heard(&mut news, moved(Some(number))).await;
    let delete = TenancyChange::DeleteWorkspace {
        id: workspace_id,
        base: RevisionNumber(0),
        cascade: Cascade::Refuse,
    };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    heard(&mut news, moved(None)).await;
}

pub async fn settings_are_part_of_the_snapshot(stores: &Stores) {
    let (workspace, owner) = stored_workspace(stores).await;
    let settings: Settings =
        serde_json::from_value(serde_json::json!({"env_vars": {"A": "b"}})).unwrap();
    let (workspace_id, number) = (workspace.id, RevisionNumber(1));
    let revision =
        Revision { workspace_id, number, author: owner, reason: String::new(), created_at: at(0) };
    let workspace = Workspace { settings: settings.clone(), revision: number, ..workspace };
    let update = TenancyChange::UpdateWorkspace { workspace, base: RevisionNumber(0), revision };
    stores.tenancy.commit(update, Trail::default()).await.unwrap();
    let snapshot = stores.gateway.snapshot(workspace_id).await.unwrap().unwrap();
    assert_eq!(snapshot.settings().as_ref(), &settings);
    let since =
        stores.gateway.writes_since(workspace_id, RevisionNumber(0)).await.unwrap().unwrap();
    assert_eq!(since.writes, Some(vec![GatewayWrite::PutSettings(Arc::new(settings))]));
}

pub async fn heads_are_of_the_workspaces_that_are_there(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    stores.gateway.commit(change(workspace.id, 0, Vec::new())).await.unwrap();
    let heads = stores.gateway.heads(&[workspace.id, id()]).await.unwrap();
    assert_eq!(heads, [(workspace.id, RevisionNumber(1))].into());
    assert_eq!(stores.gateway.heads(&[]).await.unwrap(), [].into());
}

pub async fn steps_are_committed_together_and_the_last_write_stays(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let host = virtual_host(workspace.id, "a", 0);
    let gone = virtual_host(workspace.id, "gone", 0);
    let back = upstream(workspace.id, "back", 0);
    let agent = agent(workspace.id, "a", 0);
    let later = virtual_host(workspace.id, "b", 0);
    let renamed = crate::gateway::VirtualHost { spec: later.spec, ..host.clone() };
    let put = |it: &crate::gateway::VirtualHost| GatewayWrite::PutVirtualHost(Arc::new(it.clone()));
    let put_back = || GatewayWrite::PutUpstream(Arc::new(back.clone()));
    let writes = [
        vec![put(&host), put(&gone), put_back()],
        vec![put(&renamed), GatewayWrite::DeleteUpstream(back.id)],
        vec![GatewayWrite::DeleteVirtualHost(gone.id), put_back()],
        vec![GatewayWrite::PutAgent(Arc::new(agent.clone()))],
    ];
    let numbers = (1..).map(RevisionNumber);
    let mut steps: Vec<_> =
        numbers.zip(writes.clone()).map(|(at, it)| step(workspace.id, at, it)).collect();
    steps[3].secret = Some(secret(&agent, "token"));
    let all = GatewayChange { workspace_id: workspace.id, base: RevisionNumber(0), steps };
    assert_eq!(all.head(), RevisionNumber(4));
    stores.gateway.commit(all.clone()).await.unwrap();
    assert_eq!(stores.gateway.virtual_host(host.id).await.unwrap(), Some(renamed));
    assert_eq!(stores.gateway.virtual_host(gone.id).await.unwrap(), None);
    assert_eq!(stores.gateway.upstream(back.id).await.unwrap(), Some(back));
    assert!(stores.gateway.agent_secret(&TokenHash::of("token")).await.unwrap().is_some());
    for step in &all.steps {
        let number = step.revision.number;
        let found = stores.gateway.revision(workspace.id, number).await.unwrap();
        assert_eq!(found.as_ref(), Some(&step.revision));
    }
    let since = stores.gateway.writes_since(workspace.id, RevisionNumber(1)).await.unwrap();
    assert_eq!(since.unwrap().writes, Some(writes[1..].concat()));
    assert_eq!(refused(stores, all).await, ErrorKind::Stale);
}

pub async fn of_sixty_four_writers_none_loses_a_change(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let writers = (0..64).map(async |number| {
        let host = Arc::new(virtual_host(workspace.id, &format!("host{number}"), number));
        let mut lost = 0;
        loop {
            let heads = stores.gateway.heads(&[workspace.id]).await.unwrap();
            let write = GatewayWrite::PutVirtualHost(Arc::clone(&host));
            let change = change(workspace.id, heads[&workspace.id].0, vec![write]);
            tokio::task::yield_now().await;
            match stores.gateway.commit(change).await {
                Ok(()) => return lost,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Stale, "{error}"),
            }
            lost += 1;
        }
    });
    let lost: u64 = futures::future::join_all(writers).await.into_iter().sum();
    assert!(lost > 0, "nobody met anybody");
    let snapshot = stores.gateway.snapshot(workspace.id).await.unwrap().unwrap();
    assert_eq!((snapshot.revision().0, snapshot.virtual_hosts().len()), (64, 64));
    let since = stores.gateway.writes_since(workspace.id, RevisionNumber(0)).await.unwrap();
    assert_eq!(since.unwrap().writes.unwrap().len(), 64);
}

pub async fn a_connection_holds_an_agent_until_a_newer_one_does(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let made = agent(workspace.id, "a", 0);
    let writes = vec![GatewayWrite::PutAgent(Arc::new(made.clone()))];
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    let status = async || stores.gateway.agent(made.id).await.unwrap().unwrap().status;
    let [first, second] = [id(), id()];
    let record = |session, status| async move {
        stores.gateway.record_agent_status(made.id, session, &status, Vec::new()).await.unwrap()
    };
    assert!(!record(first, seen(true, 1)).await, "it holds nothing yet");
    assert!(
        stores
            .gateway
            .open_agent_session(made.id, first, &seen(true, 2), Vec::new())
            .await
            .unwrap()
    );
    assert!(record(first, seen(true, 3)).await);
    assert!(
        stores
            .gateway
            .open_agent_session(made.id, second, &seen(true, 4), Vec::new())
            .await
            .unwrap()
    );
    assert!(!record(first, seen(false, 5)).await, "a newer one holds it");
    assert_eq!(status().await, seen(true, 4));
    assert!(record(second, seen(true, 6)).await);
    assert_eq!(status().await, seen(true, 6));
}

pub async fn secrets_that_expired_are_dropped(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let made = agent(workspace.id, "a", 0);
    let writes = vec![GatewayWrite::PutAgent(Arc::new(made.clone()))];
    stores.gateway.commit(change(workspace.id, 0, writes)).await.unwrap();
    for (text, expires_at) in [("old", Some(at(9))), ("new", Some(at(10))), ("ever", None)] {
        let secret = crate::gateway::AgentSecret { expires_at, ..secret(&made, text) };
        assert!(stores.gateway.add_agent_secret(secret).await.unwrap());
    }
    assert_eq!(stores.gateway.drop_expired(at(10)).await.unwrap(), 1);
    for (text, there) in [("old", false), ("new", true), ("ever", true)] {
        let found = stores.gateway.agent_secret(&TokenHash::of(text)).await.unwrap();
        assert_eq!(found.is_some(), there, "{text}");
    }
}

pub async fn a_state_is_what_the_history_made_of_it(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let (host, upstream) = (virtual_host(workspace.id, "a", 0), upstream(workspace.id, "a", 0));
    let later = crate::gateway::VirtualHost {
        spec: virtual_host(workspace.id, "b", 0).spec,
        revision: RevisionNumber(2),
        ..host.clone()
    };
    let steps = [
        vec![
            GatewayWrite::PutUpstream(Arc::new(upstream.clone())),
            GatewayWrite::PutVirtualHost(Arc::new(host.clone())),
        ],
        vec![GatewayWrite::PutVirtualHost(Arc::new(later.clone()))],
        vec![GatewayWrite::DeleteVirtualHost(host.id), GatewayWrite::DeleteUpstream(upstream.id)],
    ];
    let mut states = vec![content(&Snapshot::empty(workspace.id, workspace.organization_id))];
    for (base, writes) in (0..).zip(steps) {
        stores.gateway.commit(change(workspace.id, base, writes)).await.unwrap();
        states.push(content(&stores.gateway.snapshot(workspace.id).await.unwrap().unwrap()));
    }
    for (number, state) in (0..).map(RevisionNumber).zip(states) {
        let found = stores.gateway.state_at(workspace.id, number).await.unwrap().unwrap();
        assert_eq!(content(&found), state, "{number}");
    }
    let beyond = stores.gateway.state_at(workspace.id, RevisionNumber(4)).await.unwrap();
    assert!(beyond.is_none());
    assert!(stores.gateway.state_at(id(), RevisionNumber(0)).await.unwrap().is_none());
}

pub async fn revisions_are_listed_by_number_in_pages(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let mut made = Vec::new();
    for base in 0..5 {
        let mut change = change(workspace.id, base, Vec::new());
        change.steps[0].revision.reason = format!("reason {base}");
        made.push(change.steps[0].revision.clone());
        stores.gateway.commit(change).await.unwrap();
    }
    for (number, wanted) in [(1, &made[..2]), (3, &made[4..]), (4, &[])] {
        let page = PageRequest::new(number, 2).unwrap();
        let page = stores.gateway.revisions(workspace.id, page).await.unwrap();
        assert_eq!((page.data.as_slice(), page.meta.total), (wanted, 5));
    }
    let none = stores.gateway.revisions(id(), PageRequest::default()).await.unwrap();
    assert_eq!((none.data.len(), none.meta.total), (0, 0));
}
