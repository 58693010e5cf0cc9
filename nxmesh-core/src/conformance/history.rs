//! What [`GatewayStore`](crate::gateway::GatewayStore) promises of histories that are trimmed.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use super::{
    PATIENCE,
    gateway::content,
    given::{agent, at, change, id, step, stored_workspace, upstream, virtual_host},
};
use crate::{
    Mesh, PageRequest, Retention, Revision, RevisionNumber, Trail,
    gateway::{GatewayChange, GatewayWrite, Step, VirtualHost},
    store::Stores,
    tenancy::{Settings, TenancyChange, Workspace, WorkspaceId},
};

/// Changes twenty virtual hosts a thousand times, and has the newest hundred revisions kept. What
/// rows are left then is for the caller to count, and for [`rows_are_those_that_are_kept`].
pub async fn a_thousand_changes_of_which_a_hundred_are_kept(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let hosts: Vec<_> = (0..20).map(|it| virtual_host(of, &format!("h{it}"), it)).collect();
    for (base, host) in (0..1000).zip(hosts.iter().cycle()) {
        let write = match base % 3 {
            0 => GatewayWrite::DeleteVirtualHost(host.id),
            _ => put(host),
        };
        stores.gateway.commit(change(of, base, vec![write])).await.unwrap();
    }
    let before = stores.gateway.state_at(of, RevisionNumber(901)).await.unwrap().unwrap();
    let retention = Retention { revisions: 100, ..Retention::default() };
    let mesh = Mesh::builder().store(stores.clone()).retention(retention).build().await.unwrap();
    let page = PageRequest::new(1, 1).unwrap();
    let trimmed = async {
        while stores.gateway.revisions(of, page).await.unwrap().meta.total > 100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("somebody trims the history");
    mesh.shutdown().await;
    let after = stores.gateway.state_at(of, RevisionNumber(901)).await.unwrap().unwrap();
    assert_eq!(content(&after), content(&before));
}

/// What is left of them: one row for each revision, and writes for those and each host.
pub fn rows_are_those_that_are_kept(revisions: i64, writes: i64) {
    assert_eq!(revisions, 100);
    assert!((100..=120).contains(&writes), "{writes}: one for each revision, and each host");
}

fn keep(count: u64) -> NonZeroU64 {
    NonZeroU64::new(count).unwrap()
}

fn put(host: &VirtualHost) -> GatewayWrite {
    GatewayWrite::PutVirtualHost(Arc::new(host.clone()))
}

/// Ten revisions, in which objects of all kinds come, change and go. Answers the workspace.
async fn ten_revisions(stores: &Stores) -> WorkspaceId {
    let (workspace, owner) = stored_workspace(stores).await;
    let of = workspace.id;
    let [a, b, c] = ["a", "b", "c"].map(|name| virtual_host(of, name, 0));
    let changed = VirtualHost { spec: virtual_host(of, "d", 0).spec, ..a.clone() };
    let up = upstream(of, "up", 0);
    let agent = agent(of, "agent", 0);
    let steps = [
        vec![put(&a), put(&b)],
        vec![GatewayWrite::PutUpstream(Arc::new(up.clone())), put(&c)],
        vec![put(&changed), put(&a), put(&changed)],
        vec![GatewayWrite::PutAgent(Arc::new(agent.clone()))],
        vec![GatewayWrite::DeleteVirtualHost(b.id)],
        vec![],
        vec![GatewayWrite::DeleteUpstream(up.id), GatewayWrite::DeleteAgent(agent.id)],
        vec![GatewayWrite::DeleteVirtualHost(c.id), put(&c), put(&b)],
        vec![GatewayWrite::DeleteVirtualHost(a.id)],
    ];
    for (base, writes) in (0..).zip(steps) {
        stores.gateway.commit(change(of, base, writes)).await.unwrap();
    }
    let settings = serde_json::json!({"env_vars": {"A": "b"}});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let (base, number) = (RevisionNumber(9), RevisionNumber(10));
    let revision = Revision {
        workspace_id: of,
        number,
        author: owner,
        reason: "settings".to_owned(),
        created_at: at(0),
    };
    let workspace = Workspace { settings, revision: number, ..workspace };
    let update = TenancyChange::UpdateWorkspace { workspace, base, revision };
    stores.tenancy.commit(update, Trail::default()).await.unwrap();
    of
}

/// What a store says of some revisions, and of the workspace now.
async fn told<N: IntoIterator<Item = u64>>(
    stores: &Stores,
    of: WorkspaceId,
    numbers: N,
) -> impl PartialEq + std::fmt::Debug + use<N> {
    let mut told = Vec::new();
    for number in numbers.into_iter().map(RevisionNumber) {
        let state = stores.gateway.state_at(of, number).await.unwrap();
        let revision = stores.gateway.revision(of, number).await.unwrap();
        told.push((number, state.as_ref().map(content), revision));
    }
    let now = stores.gateway.snapshot(of).await.unwrap().unwrap();
    (told, content(&now))
}

pub async fn what_the_kept_revisions_were_stays_the_same(stores: &Stores) {
    let of = ten_revisions(stores).await;
    // Once from the whole, and then from what was left.
    for oldest in 2..=10 {
        let numbers = || std::iter::once(0).chain(oldest..=10);
        let before = told(stores, of, numbers()).await;
        assert_eq!(stores.gateway.drop_revisions(of, keep(11 - oldest)).await.unwrap(), 1);
        assert_eq!(told(stores, of, numbers()).await, before, "from {oldest}");
        assert_eq!(stores.gateway.drop_revisions(of, keep(11 - oldest)).await.unwrap(), 0);
        assert_eq!(told(stores, of, numbers()).await, before, "from {oldest}");
    }
}

pub async fn dropped_revisions_are_gone(stores: &Stores) {
    let of = ten_revisions(stores).await;
    let page = async || stores.gateway.revisions(of, PageRequest::default()).await.unwrap();
    let before = page().await.data;
    assert_eq!(stores.gateway.drop_revisions(of, keep(4)).await.unwrap(), 6);
    let after = page().await;
    assert_eq!((after.data.as_slice(), after.meta.total), (&before[6..], 4));
    for number in (1..=6).chain([11]).map(RevisionNumber) {
        assert_eq!(stores.gateway.revision(of, number).await.unwrap(), None, "{number}");
        assert!(stores.gateway.state_at(of, number).await.unwrap().is_none(), "{number}");
    }
}

pub async fn no_revision_is_dropped_that_is_to_be_kept(stores: &Stores) {
    let of = ten_revisions(stores).await;
    let before = told(stores, of, 0..=11).await;
    for count in [10, 11, 1_000_000, u64::MAX] {
        assert_eq!(stores.gateway.drop_revisions(of, keep(count)).await.unwrap(), 0);
    }
    assert_eq!(stores.gateway.drop_revisions(id(), keep(1)).await.unwrap(), 0);
    assert_eq!(told(stores, of, 0..=11).await, before);
}

pub async fn whoever_is_behind_what_is_kept_is_told_to_read_all(stores: &Stores) {
    let of = ten_revisions(stores).await;
    let since = async |number| {
        let since = stores.gateway.writes_since(of, RevisionNumber(number)).await.unwrap().unwrap();
        assert_eq!(since.revision, RevisionNumber(10));
        since.writes
    };
    let mut before = Vec::new();
    for number in 0..=11 {
        before.push(since(number).await);
    }
    assert!(before.iter().all(Option::is_some));
    assert_eq!(stores.gateway.drop_revisions(of, keep(4)).await.unwrap(), 6);
    for (number, before) in (0..).zip(before) {
        // The first that is kept has the removals of those before it in it.
        let wanted = if number < 7 { None } else { before };
        assert_eq!(since(number).await, wanted, "{number}");
    }
}

/// This many revisions, each of which writes the same virtual host and one of its own.
async fn many_revisions(stores: &Stores, count: u64) -> WorkspaceId {
    let of = stored_workspace(stores).await.0.id;
    let same = virtual_host(of, "same", 0);
    let steps = (1..=count).map(|number| {
        let own = virtual_host(of, &format!("own{number}"), 0);
        let changed = VirtualHost { revision: RevisionNumber(number), ..same.clone() };
        step(of, RevisionNumber(number), vec![put(&changed), put(&own)])
    });
    let steps: Vec<Step> = steps.collect();
    for (number, steps) in (0..).zip(steps.chunks(500)) {
        let base = RevisionNumber(number * 500);
        let change = GatewayChange { workspace_id: of, base, steps: steps.to_vec() };
        stores.gateway.commit(change).await.unwrap();
    }
    of
}

pub async fn revisions_are_dropped_some_at_a_time(stores: &Stores) {
    let of = many_revisions(stores, 3000).await;
    let oldest = async || {
        let page = stores.gateway.revisions(of, PageRequest::new(1, 1).unwrap()).await.unwrap();
        (page.data[0].number.0, page.meta.total)
    };
    let before = told(stores, of, [2998, 2999, 3000]).await;
    let mut dropped = 0;
    loop {
        let count = stores.gateway.drop_revisions(of, keep(3)).await.unwrap();
        if count == 0 {
            break;
        }
        dropped += count;
        assert_eq!(oldest().await, (dropped + 1, 3000 - dropped));
        let first = stores.gateway.state_at(of, RevisionNumber(dropped + 1)).await.unwrap();
        let hosts = first.unwrap().virtual_hosts().len() as u64;
        assert_eq!(hosts, dropped + 2, "each made one, and all wrote one");
    }
    assert_eq!(dropped, 2997);
    assert_eq!(told(stores, of, [2998, 2999, 3000]).await, before);
}

pub async fn one_large_revision_is_folded_too(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let hosts: Vec<_> = (0..3000).map(|it| virtual_host(of, &format!("h{it}"), it)).collect();
    stores.gateway.commit(change(of, 0, hosts.iter().map(put).collect())).await.unwrap();
    let remove = hosts[1..].iter().map(|it| GatewayWrite::DeleteVirtualHost(it.id)).collect();
    stores.gateway.commit(change(of, 1, remove)).await.unwrap();
    stores.gateway.commit(change(of, 2, vec![])).await.unwrap();
    let before = told(stores, of, [3]).await;
    let mut dropped = 0;
    for _ in 0..3 {
        dropped += stores.gateway.drop_revisions(of, keep(1)).await.unwrap();
    }
    assert_eq!(dropped, 2);
    assert_eq!(told(stores, of, [3]).await, before);
    let state = stores.gateway.state_at(of, RevisionNumber(3)).await.unwrap().unwrap();
    assert!(state.virtual_hosts().keys().eq([&hosts[0].id]));
}

pub async fn long_histories_are_found(stores: &Stores) {
    let of = ten_revisions(stores).await;
    let long = async |more_than| stores.gateway.long_histories(more_than).await.unwrap();
    assert_eq!((long(9).await, long(10).await), (vec![of], vec![]));
    assert_eq!(stores.gateway.drop_revisions(of, keep(4)).await.unwrap(), 6);
    assert_eq!((long(3).await, long(4).await), (vec![of], vec![]));
}

pub async fn a_workspace_goes_on_after_revisions_were_dropped(stores: &Stores) {
    let of = ten_revisions(stores).await;
    assert_eq!(stores.gateway.drop_revisions(of, keep(1)).await.unwrap(), 9);
    let host = virtual_host(of, "later", 0);
    stores.gateway.commit(change(of, 10, vec![put(&host)])).await.unwrap();
    let before = stores.gateway.state_at(of, RevisionNumber(10)).await.unwrap().unwrap();
    let after = stores.gateway.state_at(of, RevisionNumber(11)).await.unwrap().unwrap();
    assert_eq!(after.virtual_hosts().len(), before.virtual_hosts().len() + 1);
    let now = stores.gateway.snapshot(of).await.unwrap().unwrap();
    assert_eq!(content(&after), content(&now));
    // And it can be deleted, with all that is left of it.
    let delete = TenancyChange::DeleteWorkspace {
        id: of,
        base: RevisionNumber(10),
        cascade: crate::tenancy::Cascade::Refuse,
    };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    assert!(stores.gateway.state_at(of, RevisionNumber(11)).await.unwrap().is_none());
}

pub async fn revisions_are_dropped_while_changes_are_made(stores: &Stores) {
    let of = many_revisions(stores, 1000).await;
    let changes = async {
        for base in 1000..1200 {
            let host = virtual_host(of, &format!("later{base}"), 0);
            stores.gateway.commit(change(of, base, vec![put(&host)])).await.unwrap();
        }
    };
    let drops = async {
        let mut dropped = 0;
        while dropped < 1150 {
            dropped += stores.gateway.drop_revisions(of, keep(50)).await.unwrap();
            tokio::task::yield_now().await;
        }
        dropped
    };
    let ((), dropped) = tokio::join!(changes, drops);
    assert_eq!(dropped, 1150);
    let now = stores.gateway.snapshot(of).await.unwrap().unwrap();
    let last = stores.gateway.state_at(of, RevisionNumber(1200)).await.unwrap().unwrap();
    assert_eq!(content(&last), content(&now));
    assert_eq!(now.virtual_hosts().len(), 1201);
    let first = stores.gateway.state_at(of, RevisionNumber(1151)).await.unwrap().unwrap();
    assert_eq!(first.virtual_hosts().len(), 1152);
}
