//! Which agents are in which wave: pure.

use std::collections::BTreeSet;

use super::{Rollout, RolloutId, WaveAgents};
use crate::gateway::{AgentId, Labels};

/// The agents that a rollout has reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::gateway) struct Members {
    ids: BTreeSet<AgentId>,
    /// The wave of the rest was started.
    all: bool,
}

impl Members {
    /// Those of the waves that were started.
    pub(in crate::gateway) fn of(rollout: &Rollout) -> Self {
        let mut members = Self::default();
        for wave in rollout.waves.iter().filter(|it| it.state.is_started()) {
            match &wave.members {
                Some(ids) => members.ids.extend(ids),
                None => members.all = true,
            }
        }
        members
    }

    pub(in crate::gateway) fn has(&self, agent: AgentId) -> bool {
        self.all || self.ids.contains(&agent)
    }
}

/// Who is in a wave that begins now, of those that no earlier wave has; `None` is all of them,
/// and who is yet to come.
pub(super) fn members_of<'a>(
    rollout: RolloutId,
    which: &WaveAgents,
    agents: impl IntoIterator<Item = (AgentId, &'a Labels)>,
    taken: &BTreeSet<AgentId>,
) -> Option<Vec<AgentId>> {
    let left = agents.into_iter().filter(|(id, _)| !taken.contains(id));
    match which {
        WaveAgents::Selector(selector) => {
            let meant = left.filter(|(_, labels)| selector.matches(labels));
            Some(meant.map(|(id, _)| id).collect())
        }
        WaveAgents::AgentIds(ids) => {
            let ids: BTreeSet<_> = ids.iter().collect();
            Some(left.map(|(id, _)| id).filter(|id| ids.contains(id)).collect())
        }
        WaveAgents::Percent(percent) => {
            let mut ids: Vec<_> = left.map(|(id, _)| id).collect();
            ids.sort_by_key(|id| (place(rollout, *id), *id));
            let part = (ids.len() * usize::from(*percent)).div_ceil(100);
            ids.truncate(part);
            Some(ids)
        }
        WaveAgents::Rest => None,
    }
}

/// Where an agent stands when those of a rollout are drawn.
fn place(rollout: RolloutId, agent: AgentId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(agent.as_uuid().as_bytes()).update(rollout.as_uuid().as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{Id, gateway::LabelSelector};

    fn id<T>(number: u128) -> Id<T> {
        Id::from_uuid(Uuid::from_u128(number))
    }

    fn agents(count: u128) -> Vec<(AgentId, Labels)> {
        let labels = |at: u128| Labels::from([("odd".to_owned(), (at % 2 == 1).to_string())]);
        (0..count).map(|at| (id(at), labels(at))).collect()
    }

    fn drawn(rollout: u128, which: &WaveAgents, count: u128, taken: &[u128]) -> Vec<AgentId> {
        let agents = agents(count);
        let agents = agents.iter().map(|(id, labels)| (*id, labels));
        let taken = taken.iter().map(|it| id(*it)).collect();
        members_of(id(rollout), which, agents, &taken).unwrap()
    }

    #[test]
    fn a_percentage_is_of_those_that_are_left_rounded_up() {
        for (percent, count, taken, wanted) in [
            (1, 0, 0, 0),
            (1, 1, 0, 1),
            (1, 100, 0, 1),
            (1, 101, 0, 2),
            (10, 11, 1, 1),
            (10, 12, 1, 2),
            (50, 4, 2, 1),
            (100, 7, 3, 4),
        ] {
            let taken: Vec<_> = (0..taken).collect();
            let drawn = drawn(9, &WaveAgents::Percent(percent), count, &taken);
            assert_eq!(drawn.len(), wanted, "{percent} % of {count} without {taken:?}");
            assert!(drawn.iter().all(|it| !taken.iter().any(|other| *it == id(*other))));
        }
    }

    #[test]
    fn who_is_drawn_depends_on_the_rollout_and_on_nothing_else() {
        let draw = |rollout| drawn(rollout, &WaveAgents::Percent(20), 50, &[]);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn selectors_and_ids_find_those_that_are_there() {
        let odd = WaveAgents::Selector(LabelSelector::parse("odd=true").unwrap());
        assert_eq!(drawn(1, &odd, 6, &[3]), [id(1), id(5)]);
        let named = WaveAgents::AgentIds(vec![id(4), id(2), id(77), id(2)]);
        assert_eq!(drawn(1, &named, 6, &[4]), [id(2)]);
        assert_eq!(members_of(id(1), &WaveAgents::Rest, [], &BTreeSet::new()), None);
    }
}
