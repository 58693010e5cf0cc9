//! How a rollout goes on: pure, told the time.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Rollout, RolloutState, Wave, WaveState,
    fleet_view::AgentView,
    gates::{closed, figures},
    plan::members_of,
};
use crate::gateway::AgentId;

/// What is to be told of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Told {
    /// A wave was started.
    WaveStarted(usize),
    /// A wave was finished.
    WaveFinished(usize),
    /// A gate closed.
    Halted,
    /// All agents are on the revision.
    Completed,
    /// It was ended.
    Aborted,
}

impl Rollout {
    /// The same as its next version.
    pub(in crate::gateway) fn next_version(self, now: DateTime<Utc>) -> Self {
        Self { version: self.version + 1, updated_at: now, ..self }
    }
}

/// Starts the first wave of a rollout.
pub(in crate::gateway) fn start(
    rollout: &mut Rollout,
    fleet: &[AgentView],
    now: DateTime<Utc>,
) -> Vec<Told> {
    let mut told = Vec::new();
    start_wave(rollout, 0, fleet, now, &mut told);
    told
}

/// What a running rollout comes to now, and what is to be told of that; `None` when it is as it
/// was.
pub(in crate::gateway) fn step(
    rollout: &Rollout,
    fleet: &[AgentView],
    now: DateTime<Utc>,
) -> Option<(Rollout, Vec<Told>)> {
    if rollout.state != RolloutState::Running {
        return None;
    }
    let mut next = rollout.clone();
    let mut told = Vec::new();
    if let Some(reason) = closed(&next, &started(&next, fleet), now) {
        next = live(&next, fleet);
        take_back(&mut next, RolloutState::Halted, reason, now);
        told.push(Told::Halted);
    } else {
        go_on(&mut next, fleet, now, &mut told);
    }
    if next == *rollout {
        return None;
    }
    Some((next.next_version(now), told))
}

/// The same rollout with figures as they are now; what is over keeps those that it had.
pub(in crate::gateway) fn live(rollout: &Rollout, fleet: &[AgentView]) -> Rollout {
    let mut shown = rollout.clone();
    if !rollout.state.is_under_way() {
        return shown;
    }
    for at in 0..shown.waves.len() {
        if shown.waves[at].state.is_started() {
            shown.waves[at].figures = figures_of(rollout, at, fleet);
        }
    }
    shown
}

/// Ends a rollout, and has all its agents go back to what was released before.
pub(in crate::gateway) fn take_back(
    rollout: &mut Rollout,
    state: RolloutState,
    reason: String,
    now: DateTime<Utc>,
) {
    for wave in rollout.waves.iter_mut().filter(|it| it.state.is_started()) {
        wave.state = WaveState::TakenBack;
    }
    rollout.state = state;
    rollout.reason = Some(reason);
    rollout.ended_at = Some(now);
}

fn go_on(rollout: &mut Rollout, fleet: &[AgentView], now: DateTime<Utc>, told: &mut Vec<Told>) {
    while let Some(at) = rollout.current() {
        let figures = figures_of(rollout, at, fleet);
        let nobody = figures.agents == 0;
        let converged = figures.converging == 0;
        let wave = &mut rollout.waves[at];
        if !converged {
            wave.waiting_since.get_or_insert(now);
            if figures.verified == 0 {
                wave.soaking_since = None;
            }
            return;
        }
        wave.waiting_since = None;
        let since = *wave.soaking_since.get_or_insert(now);
        wave.state = WaveState::Soaking;
        let soak = TimeDelta::seconds(i64::try_from(wave.soak_seconds).unwrap_or(i64::MAX));
        if !nobody && now < since + soak {
            return;
        }
        wave.state = WaveState::Finished;
        wave.finished_at = Some(now);
        wave.figures = figures;
        told.push(Told::WaveFinished(at));
        if at + 1 == rollout.waves.len() {
            rollout.state = RolloutState::Completed;
            rollout.ended_at = Some(now);
            told.push(Told::Completed);
            return;
        }
        start_wave(rollout, at + 1, fleet, now, told);
        // Who has it already is seen at once, and who has none holds nothing up.
    }
}

fn start_wave(
    rollout: &mut Rollout,
    at: usize,
    fleet: &[AgentView],
    now: DateTime<Utc>,
    told: &mut Vec<Told>,
) {
    let taken = taken(&rollout.waves[..at]);
    let agents = fleet.iter().map(|it| (it.id, &it.labels));
    let members = members_of(rollout.id, &rollout.waves[at].which, agents, &taken);
    let wave = &mut rollout.waves[at];
    wave.members = members;
    wave.state = WaveState::Converging;
    wave.started_at = Some(now);
    let figures = figures_of(rollout, at, fleet);
    let wave = &mut rollout.waves[at];
    wave.waiting_since = (figures.converging > 0).then_some(now);
    wave.figures = figures;
    told.push(Told::WaveStarted(at));
}

fn taken(waves: &[Wave]) -> BTreeSet<AgentId> {
    waves.iter().filter_map(|it| it.members.as_ref()).flatten().copied().collect()
}

fn figures_of(rollout: &Rollout, at: usize, fleet: &[AgentView]) -> super::WaveFigures {
    figures(rollout, &rollout.waves[at], &members(rollout, at, fleet))
}

/// The agents of a wave that are there.
fn members<'a>(rollout: &Rollout, at: usize, fleet: &'a [AgentView]) -> Vec<&'a AgentView> {
    match &rollout.waves[at].members {
        Some(ids) => {
            let ids: BTreeSet<_> = ids.iter().collect();
            fleet.iter().filter(|it| ids.contains(&it.id)).collect()
        }
        None => {
            let taken = taken(&rollout.waves[..at]);
            fleet.iter().filter(|it| !taken.contains(&it.id)).collect()
        }
    }
}

/// The waves that were started, with their agents.
fn started<'a>(
    rollout: &'a Rollout,
    fleet: &'a [AgentView],
) -> Vec<(&'a Wave, Vec<&'a AgentView>)> {
    let waves = rollout.waves.iter().enumerate().filter(|(_, it)| it.state.is_started());
    waves.map(|(at, wave)| (wave, members(rollout, at, fleet))).collect()
}
