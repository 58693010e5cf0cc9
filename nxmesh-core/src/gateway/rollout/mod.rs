//! Staged delivery: a revision reaches the agents of a workspace wave by wave.

mod controller;
mod delivery;
mod fleet_view;
mod gates;
mod new;
mod plan;
mod rollouts;
mod steps;
mod trail;
mod types;

#[cfg(test)]
mod tests;

pub(super) use self::{
    controller::{fleet, run},
    fleet_view::{AgentView, view_of},
    new::RolloutPlan,
    plan::Members,
    steps::{live, start, take_back},
    trail::{about, events},
};
pub use self::{
    delivery::{DeliveryRecord, RolloutMark},
    new::{
        MAX_DEADLINE_SECONDS, MAX_GATE, MAX_SOAK_SECONDS, MAX_WAVES, NewGates, NewRollout, NewWave,
    },
    rollouts::Rollouts,
    types::{Gates, Rollout, RolloutId, RolloutState, Wave, WaveAgents, WaveFigures, WaveState},
};
