//! The rollouts of workspaces, each with its place among those of its own.

use super::state::{Head, State};
use crate::{
    Page, PageRequest, Trail,
    gateway::{DeliveryRecord, MAX_ROLLOUTS, Rollout, RolloutId, RolloutMark, RolloutState},
    tenancy::WorkspaceId,
};

impl Head {
    /// What decides which revision the agents serve.
    pub(super) fn delivery(&self) -> DeliveryRecord {
        let all = || self.rollouts.iter().map(|(_, it)| it);
        let completed = all().rfind(|it| it.state == RolloutState::Completed);
        DeliveryRecord {
            staged_since: self.workspace.settings.staged_since,
            under_way: all().find(|it| it.state.is_under_way()).cloned(),
            completed: completed.cloned(),
            mark: self.mark().unwrap_or_default(),
        }
    }

    pub(super) fn mark(&self) -> Option<RolloutMark> {
        let (number, newest) = self.rollouts.last()?;
        Some(RolloutMark { number: *number, version: newest.version })
    }

    fn put_rollout(&mut self, rollout: &Rollout) -> bool {
        if rollout.version == 1 {
            if self.rollouts.iter().any(|(_, it)| it.state.is_under_way()) {
                return false;
            }
            let number = self.rollouts.last().map_or(0, |(number, _)| *number) + 1;
            self.rollouts.push((number, rollout.clone()));
            let completed = self.delivery().completed.map(|it| it.id);
            self.rollouts
                .retain(|(it, old)| it + MAX_ROLLOUTS > number || Some(old.id) == completed);
            return true;
        }
        let before = |(_, it): &&mut (u64, Rollout)| {
            it.id == rollout.id && it.version + 1 == rollout.version && it.state.is_under_way()
        };
        let found = self.rollouts.iter_mut().find(before);
        found.map(|(_, it)| *it = rollout.clone()).is_some()
    }
}

impl State {
    pub(super) fn rollout(&self, id: RolloutId) -> Option<Rollout> {
        let all = self.workspaces.values().flat_map(|it| &it.rollouts);
        all.map(|(_, it)| it).find(|it| it.id == id).cloned()
    }

    pub(super) fn rollouts(&self, of: WorkspaceId, page: PageRequest) -> Page<Rollout> {
        let all = self.workspaces.get(&of).map(|it| it.rollouts.as_slice()).unwrap_or_default();
        page.of(all.iter().map(|(_, it)| it.clone()))
    }

    pub(super) fn rollouts_under_way(&self) -> Vec<Rollout> {
        self.workspaces.values().filter_map(|it| it.delivery().under_way).collect()
    }

    pub(super) fn put_rollout(&mut self, rollout: &Rollout, trail: Trail) -> bool {
        let head = self.workspaces.get_mut(&rollout.workspace_id);
        let put = head.is_some_and(|it| it.put_rollout(rollout));
        if put {
            self.record(trail);
        }
        put
    }
}
