//! What [`GatewayStore`](crate::gateway::GatewayStore) promises of rollouts.

#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the names say it, and they panic to fail"
)]

use std::num::NonZeroU64;

use super::{
    PATIENCE,
    given::{at, change, id, rollout, stored_workspace, trail, workspace},
};
use crate::{
    PageRequest, Revision, RevisionNumber, Trail,
    events::EventId,
    gateway::{DeliveryRecord, MAX_ROLLOUTS, News, Rollout, RolloutMark, RolloutState, WaveState},
    store::Stores,
    tenancy::{Cascade, Delivery, Settings, TenancyChange, WorkspaceId},
};

async fn put(stores: &Stores, rollout: &Rollout) -> bool {
    stores.gateway.put_rollout(rollout, Trail::default()).await.unwrap()
}

/// The next version of a rollout, in this state.
fn next(before: &Rollout, state: RolloutState) -> Rollout {
    let mut after = before.clone();
    after.state = state;
    after.version += 1;
    after.updated_at = at(2);
    after.waves[0].state = WaveState::Finished;
    after.ended_at = (!state.is_under_way()).then(|| at(2));
    after.reason = after.ended_at.map(|_| "ü".to_owned());
    after
}

async fn delivery(stores: &Stores, of: WorkspaceId) -> DeliveryRecord {
    stores.gateway.delivery(of).await.unwrap().unwrap()
}

/// Makes the settings of a workspace say since when delivery is staged, as its next revision.
async fn stage(stores: &Stores, of: WorkspaceId, staged_since: Option<u64>) {
    let head = stores.tenancy.workspace_head(of).await.unwrap().unwrap();
    let snapshot = stores.gateway.snapshot(of).await.unwrap().unwrap();
    let delivery = if staged_since.is_some() { Delivery::Staged } else { Delivery::Immediate };
    let staged_since = staged_since.map(RevisionNumber);
    let settings = Settings { delivery, staged_since, ..snapshot.settings().as_ref().clone() };
    let number = head.next();
    let mut changed = workspace(snapshot.organization_id(), "production", 0);
    changed.id = of;
    changed.settings = settings;
    changed.revision = number;
    let revision = Revision {
        workspace_id: of,
        number,
        author: id(),
        reason: String::new(),
        created_at: at(0),
    };
    let update = TenancyChange::UpdateWorkspace { workspace: changed, base: head, revision };
    stores.tenancy.commit(update, Trail::default()).await.unwrap();
}

async fn revisions(stores: &Stores, of: WorkspaceId, count: u64) {
    let head = stores.tenancy.workspace_head(of).await.unwrap().unwrap().0;
    for base in head..head + count {
        stores.gateway.commit(change(of, base, Vec::new())).await.unwrap();
    }
}

pub async fn a_rollout_is_read_back_whole(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let first = rollout(of, 3);
    assert!(stores.gateway.rollout(first.id).await.unwrap().is_none());
    assert!(put(stores, &first).await);
    assert_eq!(stores.gateway.rollout(first.id).await.unwrap().as_ref(), Some(&first));
    let second = next(&first, RolloutState::Paused);
    assert!(put(stores, &second).await);
    assert_eq!(stores.gateway.rollout(first.id).await.unwrap().as_ref(), Some(&second));
    assert_eq!(stores.gateway.rollouts_under_way().await.unwrap(), [second]);
}

pub async fn one_rollout_of_a_workspace_is_under_way_at_a_time(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let first = rollout(of, 3);
    assert!(put(stores, &first).await);
    assert!(!put(stores, &rollout(of, 4)).await);
    assert!(put(stores, &next(&first, RolloutState::Paused)).await);
    assert!(!put(stores, &rollout(of, 4)).await, "one that is paused is under way too");
    let over = next(&next(&first, RolloutState::Paused), RolloutState::Aborted);
    assert!(put(stores, &over).await);
    let second = rollout(of, 4);
    assert!(put(stores, &second).await);
    assert_eq!(stores.gateway.rollouts_under_way().await.unwrap(), [second]);
}

pub async fn of_many_at_once_one_rollout_is_started(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let all: Vec<_> = (0..16).map(|_| rollout(of, 3)).collect();
    let put = futures::future::join_all(all.iter().map(|it| put(stores, it))).await;
    assert_eq!(put.iter().filter(|it| **it).count(), 1);
    let kept = stores.gateway.rollouts(of, PageRequest::default()).await.unwrap();
    assert_eq!(kept.meta.total, 1);
}

pub async fn a_rollout_is_changed_only_from_its_version(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let first = rollout(of, 3);
    let second = next(&first, RolloutState::Paused);
    assert!(!put(stores, &second).await, "it was never added");
    assert!(put(stores, &first).await);
    assert!(!put(stores, &first).await, "it is there already");
    let third = next(&second, RolloutState::Running);
    assert!(!put(stores, &third).await, "a version is missing between");
    assert!(put(stores, &second).await);
    assert!(!put(stores, &next(&first, RolloutState::Aborted)).await, "somebody was faster");
    assert_eq!(stores.gateway.rollout(first.id).await.unwrap(), Some(second));
}

pub async fn a_rollout_that_is_over_stays_as_it_is(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    for over in [RolloutState::Completed, RolloutState::Halted, RolloutState::Aborted] {
        let first = rollout(of, 3);
        assert!(put(stores, &first).await);
        let last = next(&first, over);
        assert!(put(stores, &last).await);
        assert!(!put(stores, &next(&last, RolloutState::Running)).await, "{over:?}");
        assert_eq!(stores.gateway.rollout(first.id).await.unwrap(), Some(last));
    }
    assert!(stores.gateway.rollouts_under_way().await.unwrap().is_empty());
}

pub async fn rollouts_are_listed_oldest_first_in_pages(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let mut made = Vec::new();
    for seconds in [3, 1, 2] {
        // By clocks that differ.
        let first = Rollout { created_at: at(seconds), ..rollout(of, 3) };
        assert!(put(stores, &first).await);
        made.push(next(&first, RolloutState::Halted));
        assert!(put(stores, made.last().unwrap()).await);
    }
    let page = async |number| {
        let page = PageRequest::new(number, 2).unwrap();
        let page = stores.gateway.rollouts(of, page).await.unwrap();
        (page.data, page.meta.total)
    };
    assert_eq!(page(1).await, (made[..2].to_vec(), 3));
    assert_eq!(page(2).await, (made[2..].to_vec(), 3));
    assert_eq!(page(3).await, (Vec::new(), 3));
    assert!(stores.gateway.rollouts(id(), PageRequest::default()).await.unwrap().data.is_empty());
}

pub async fn what_agents_serve_follows_settings_and_rollouts(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    assert!(stores.gateway.delivery(id()).await.unwrap().is_none());
    assert_eq!(delivery(stores, of).await, DeliveryRecord::default());
    stage(stores, of, Some(1)).await;
    let record = delivery(stores, of).await;
    assert_eq!((record.staged_since, record.released()), (some(1), some(1)));
    revisions(stores, of, 4).await;
    let first = rollout(of, 3);
    assert!(put(stores, &first).await);
    let record = delivery(stores, of).await;
    assert_eq!((record.released(), record.rollout()), (some(1), Some(&first)));
    let completed = next(&first, RolloutState::Completed);
    assert!(put(stores, &completed).await);
    let record = delivery(stores, of).await;
    assert_eq!((record.released(), record.rollout()), (some(3), None));
    assert_eq!(record.completed.as_ref(), Some(&completed));
    // Others that do not come to their end change nothing of that.
    let other = rollout(of, 4);
    assert!(put(stores, &other).await);
    let record = delivery(stores, of).await;
    assert_eq!((record.released(), record.under_way.as_ref()), (some(3), Some(&other)));
    assert!(put(stores, &next(&other, RolloutState::Halted)).await);
    let record = delivery(stores, of).await;
    assert_eq!((record.released(), record.completed), (some(3), Some(completed)));
    // And one that is completed later does, also when it goes back.
    let other = Rollout { created_at: at(0), ..rollout(of, 2) };
    assert!(put(stores, &other).await);
    assert!(put(stores, &next(&other, RolloutState::Completed)).await);
    assert_eq!(delivery(stores, of).await.released(), some(2));
    stage(stores, of, None).await;
    assert_eq!(delivery(stores, of).await.released(), None);
    stage(stores, of, Some(7)).await;
    assert_eq!(delivery(stores, of).await.released(), some(7), "what was before does not count");
}

fn some(number: u64) -> Option<RevisionNumber> {
    Some(RevisionNumber(number))
}

pub async fn a_mark_grows_with_every_change(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let mark = async || {
        let marks = stores.gateway.rollout_marks(&[of, id()]).await.unwrap();
        let mark = marks.get(&of).copied();
        assert_eq!(marks.len(), usize::from(mark.is_some()));
        assert_eq!(delivery(stores, of).await.mark, mark.unwrap_or_default());
        mark.unwrap_or_default()
    };
    let mut marks = vec![mark().await];
    assert_eq!(marks[0], RolloutMark::default());
    for _ in 0..3 {
        let first = rollout(of, 3);
        let second = next(&first, RolloutState::Paused);
        for it in [&first, &second, &next(&second, RolloutState::Completed)] {
            assert!(put(stores, it).await);
            marks.push(mark().await);
        }
    }
    assert!(marks.is_sorted_by(|one, other| one < other), "{marks:?}");
}

pub async fn a_rollout_is_announced_and_leaves_its_trail(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let mut news = stores.gateway.subscribe();
    let trail = trail(workspace.organization_id, "rollout.started", 1);
    let first = rollout(workspace.id, 3);
    assert!(stores.gateway.put_rollout(&first, trail.clone()).await.unwrap());
    let hear = async { while news.recv().await.unwrap() != News::RolledOut(workspace.id) {} };
    tokio::time::timeout(PATIENCE, hear).await.unwrap();
    let second = next(&first, RolloutState::Halted);
    let later = super::given::trail(workspace.organization_id, "rollout.halted", 2);
    assert!(stores.gateway.put_rollout(&second, later.clone()).await.unwrap());
    let events = stores.events.events_after(EventId(0), 10).await.unwrap();
    let events: Vec<_> = events.into_iter().map(|it| it.event).collect();
    assert_eq!(events, [trail.events, later.events].concat());
    let filter = crate::tenancy::AuditFilter::default();
    let page = PageRequest::default();
    let log = stores.tenancy.audit_log(workspace.organization_id, &filter, page).await.unwrap();
    assert_eq!(log.data, [trail.entries, later.entries].concat());
}

pub async fn a_refused_rollout_leaves_nothing(stores: &Stores) {
    let (workspace, _) = stored_workspace(stores).await;
    let first = rollout(workspace.id, 3);
    assert!(put(stores, &first).await);
    let trail = trail(workspace.organization_id, "rollout.started", 1);
    for refused in [rollout(workspace.id, 4), rollout(id(), 4), first] {
        assert!(!stores.gateway.put_rollout(&refused, trail.clone()).await.unwrap());
    }
    assert!(stores.events.events_after(EventId(0), 10).await.unwrap().is_empty());
}

pub async fn rollouts_go_with_their_workspace(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let first = rollout(of, 3);
    assert!(put(stores, &first).await);
    let base = RevisionNumber::default();
    let delete = TenancyChange::DeleteWorkspace { id: of, base, cascade: Cascade::Refuse };
    stores.tenancy.commit(delete, Trail::default()).await.unwrap();
    assert!(stores.gateway.rollout(first.id).await.unwrap().is_none());
    assert!(stores.gateway.rollouts_under_way().await.unwrap().is_empty());
    assert!(stores.gateway.delivery(of).await.unwrap().is_none());
}

pub async fn the_oldest_rollouts_are_dropped_but_for_the_last_completed(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let mut all = Vec::new();
    for number in 0..MAX_ROLLOUTS + 5 {
        let first = rollout(of, 3);
        assert!(put(stores, &first).await);
        let over = if number == 2 { RolloutState::Completed } else { RolloutState::Halted };
        all.push(next(&first, over));
        assert!(put(stores, all.last().unwrap()).await);
    }
    let kept = stores.gateway.rollouts(of, PageRequest::whole()).await.unwrap().data;
    let mut wanted = vec![all[2].clone()];
    wanted.extend_from_slice(&all[5..]);
    assert!(kept == wanted, "{} are kept", kept.len());
    assert_eq!(delivery(stores, of).await.completed.as_ref(), Some(&all[2]));
}

pub async fn no_revision_is_dropped_that_agents_are_on(stores: &Stores) {
    let of = stored_workspace(stores).await.0.id;
    let oldest = async |keep: u64| {
        let keep = NonZeroU64::new(keep).unwrap();
        while stores.gateway.drop_revisions(of, keep).await.unwrap() > 0 {}
        let kept = stores.gateway.revisions(of, PageRequest::new(1, 1).unwrap()).await.unwrap();
        kept.data[0].number.0
    };
    revisions(stores, of, 2).await;
    stage(stores, of, Some(3)).await;
    revisions(stores, of, 17).await;
    assert_eq!(oldest(1).await, 3, "what was released when it began");
    let staged = |revision| Rollout { staged_since: RevisionNumber(3), ..rollout(of, revision) };
    let first = staged(8);
    assert!(put(stores, &first).await);
    assert_eq!(oldest(1).await, 3);
    assert!(put(stores, &next(&first, RolloutState::Completed)).await);
    assert_eq!(oldest(18).await, 3, "there are no more than those");
    assert_eq!(oldest(1).await, 8, "what was released last");
    let second = staged(12);
    assert!(put(stores, &second).await);
    assert!(put(stores, &next(&second, RolloutState::Aborted)).await);
    assert_eq!(oldest(2).await, 8);
    let back = staged(9);
    assert!(put(stores, &back).await);
    assert!(put(stores, &next(&back, RolloutState::Completed)).await);
    let third = staged(10);
    assert!(put(stores, &third).await);
    assert_eq!(oldest(1).await, 9);
    stage(stores, of, None).await;
    assert_eq!(oldest(1).await, 10, "and what is under way");
    assert!(put(stores, &next(&third, RolloutState::Aborted)).await);
    assert_eq!(oldest(1).await, 21);
    assert!(stores.gateway.state_at(of, RevisionNumber(21)).await.unwrap().is_some());
}
