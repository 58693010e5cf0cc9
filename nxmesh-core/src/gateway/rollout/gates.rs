//! What halts a rollout: pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Gates, Rollout, Wave, WaveFigures, fleet_view::AgentView};
use crate::gateway::Answered;

/// How many agents are named in a reason.
const MAX_NAMED: usize = 3;

/// How the agents of a wave are.
pub(super) fn figures(rollout: &Rollout, wave: &Wave, members: &[&AgentView]) -> WaveFigures {
    let count =
        |meant: &dyn Fn(&AgentView) -> bool| members.iter().filter(|it| meant(it)).count() as u64;
    let moved = || members.iter().filter(|it| it.moved_in(wave));
    let sum = |of: fn(&AgentView) -> Answered| {
        moved().map(|it| of(it)).fold(Answered::default(), Answered::plus)
    };
    let (before, since) = (sum(|it| it.answered_before), sum(|it| it.answered_since));
    WaveFigures {
        agents: members.len() as u64,
        verified: count(&|it| it.connected && it.verified),
        converging: count(&|it| it.is_awaited_in(wave)),
        offline: count(&|it| !it.connected && !it.is_awaited_in(wave)),
        failed: count(&|it| it.failed_in(rollout.revision, wave).is_some()),
        nginx_down: count(&|it| it.nginx_down),
        answered_before: before,
        answered_since: since,
        new_5xx_percent: new_5xx_percent(&rollout.gates, before, since),
    }
}

/// By how much the share of failing answers has grown, once there are enough of them.
fn new_5xx_percent(gates: &Gates, before: Answered, since: Answered) -> Option<f64> {
    if since.requests == 0 || since.requests < gates.min_requests {
        return None;
    }
    let share = |it: Answered| match it.requests {
        0 => 0.0,
        requests => it.responses_5xx as f64 / requests as f64 * 100.0,
    };
    Some(share(since) - share(before))
}

/// Why a rollout must not go on, by the waves that were started and their agents.
pub(super) fn closed(
    rollout: &Rollout,
    started: &[(&Wave, Vec<&AgentView>)],
    now: DateTime<Utc>,
) -> Option<String> {
    let Rollout { revision, gates, .. } = rollout;
    let failures = started.iter().flat_map(|(wave, members)| {
        members.iter().filter_map(|it| it.failed_in(*revision, wave).map(|failed| (*it, failed)))
    });
    let failures: Vec<_> = failures.collect();
    if failures.len() as u64 > gates.max_failed_applies {
        let told = failures.iter().take(MAX_NAMED);
        let told = told.map(|(agent, failed)| format!("{}: {}", agent.name, failed.error));
        let (count, most) = (failures.len(), gates.max_failed_applies);
        let told: Vec<_> = told.collect();
        return Some(format!(
            "max_failed_applies: {count} agents could not serve revision {revision}, and {most} \
             may; {}",
            told.join("; ")
        ));
    }
    let down = started.iter().flat_map(|(_, members)| members).filter(|it| it.nginx_down);
    let down: Vec<_> = down.map(|it| it.name.as_str()).collect();
    if !down.is_empty() {
        let named = down[..down.len().min(MAX_NAMED)].join(", ");
        return Some(format!("nginx does not run on {} agents: {named}", down.len()));
    }
    for (wave, members) in started {
        let figures = figures(rollout, wave, members);
        let Some(percent) = figures.new_5xx_percent else { continue };
        if percent > gates.max_5xx_percent {
            let WaveFigures { answered_since, answered_before, .. } = figures;
            return Some(format!(
                "max_5xx_percent: {} of {} answers with revision {revision} have a status of 500 \
                 or more, {} of {} had before: {percent:.1} % more, and {} % may be",
                answered_since.responses_5xx,
                answered_since.requests,
                answered_before.responses_5xx,
                answered_before.requests,
                gates.max_5xx_percent
            ));
        }
    }
    started.iter().find_map(|(wave, members)| overdue(rollout, wave, members, now))
}

/// Why a wave must not wait any longer: neither is it there, nor does it get any further.
fn overdue(
    rollout: &Rollout,
    wave: &Wave,
    members: &[&AgentView],
    now: DateTime<Utc>,
) -> Option<String> {
    let Rollout { revision, gates: Gates { deadline_seconds, .. }, .. } = rollout;
    let since = wave.waiting_since?;
    let last = members.iter().filter(|it| it.moved_in(wave)).filter_map(|it| it.verified_at).max();
    let since = last.map_or(since, |it| it.max(since));
    let deadline = TimeDelta::seconds(i64::try_from(*deadline_seconds).unwrap_or(i64::MAX));
    let awaited: Vec<_> = members.iter().filter(|it| it.is_awaited_in(wave)).collect();
    if awaited.is_empty() || now < since + deadline {
        return None;
    }
    let named = awaited.iter().take(MAX_NAMED).map(|it| match it.failed_in(*revision, wave) {
        Some(failed) => format!("{}: {}", it.name, failed.error),
        None => it.name.clone(),
    });
    let (count, named) = (awaited.len(), named.collect::<Vec<_>>().join("; "));
    Some(format!(
        "deadline_seconds: {count} agents are not proven to serve revision {revision}, and \
         for {deadline_seconds} seconds no other agent of the wave got there; {named}"
    ))
}
