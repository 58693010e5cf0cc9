use serde::{Deserialize, Serialize};

use super::{Gates, WaveAgents};
use crate::{
    FieldCode, Path, Problems, Result, RevisionNumber,
    gateway::{LabelSelector, MAX_NAMED_AGENTS},
    text::check_label,
};

/// How many waves a rollout may have, beside the rest.
pub const MAX_WAVES: usize = 20;
/// For how long a wave may soak: a week.
pub const MAX_SOAK_SECONDS: u64 = 7 * 24 * 3600;
/// For how long a wave may wait for its agents: a week.
pub const MAX_DEADLINE_SECONDS: u64 = 7 * 24 * 3600;

/// The largest number in a gate.
pub const MAX_GATE: u64 = 1_000_000;

/// What a caller writes of a rollout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewRollout {
    /// The revision to bring agents to; left out, it is the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionNumber>,
    /// Whom it reaches when, in order, 20 at most. All agents that are in none of them follow
    /// after the last.
    #[serde(default)]
    pub waves: Vec<NewWave>,
    /// What halts it.
    #[serde(default)]
    pub gates: NewGates,
    /// Why: 1 to 200 characters, not blank, no control characters.
    pub message: String,
}

/// What a caller writes of a wave: exactly one of `selector`, `percent`, `agent_ids`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewWave {
    /// Those whose labels match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<LabelSelector>))]
    pub selector: Option<String>,
    /// So many of a hundred of those that are in no earlier wave, rounded up: 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
    /// These, 1000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<crate::gateway::AgentId>>))]
    pub agent_ids: Option<Vec<String>>,
    /// For how many seconds all must be well before the next wave: a week at most.
    #[serde(default)]
    pub soak_seconds: u64,
}

/// What a caller writes of [`Gates`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewGates {
    /// See [`Gates::max_failed_applies`]: 1,000,000 at most.
    pub max_failed_applies: u64,
    /// See [`Gates::max_5xx_percent`]: 0 to 100.
    pub max_5xx_percent: f64,
    /// See [`Gates::min_requests`]: 1,000,000 at most.
    pub min_requests: u64,
    /// See [`Gates::deadline_seconds`]: 1 second to a week.
    pub deadline_seconds: u64,
}

impl Default for NewGates {
    fn default() -> Self {
        Self {
            max_failed_applies: 0,
            max_5xx_percent: 5.0,
            min_requests: 20,
            deadline_seconds: Gates::DEADLINE_SECONDS,
        }
    }
}

/// A rollout that is valid, whatever the workspace is like.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct RolloutPlan {
    pub(in crate::gateway) revision: Option<RevisionNumber>,
    /// Which agents, and for how many seconds they soak.
    pub(in crate::gateway) waves: Vec<(WaveAgents, u64)>,
    pub(in crate::gateway) gates: Gates,
    pub(in crate::gateway) message: String,
}

impl NewRollout {
    pub(in crate::gateway) fn parse(self) -> Result<RolloutPlan> {
        let Self { revision, waves, gates, message } = self;
        let root = Path::root();
        let mut problems = Problems::default();
        problems.take(&root.field("message"), check_label(&message, crate::text::MAX_LABEL_CHARS));
        let at = root.field("waves");
        if waves.len() > MAX_WAVES {
            problems.add(&at, FieldCode::OutOfRange, format!("must be {MAX_WAVES} at most"));
        }
        let mut parsed = Vec::with_capacity(waves.len());
        for (index, wave) in waves.into_iter().enumerate() {
            parsed.extend(wave.parse(&at.index(index), &mut problems));
        }
        let NewGates { max_failed_applies, max_5xx_percent, min_requests, deadline_seconds } =
            gates;
        let at = root.field("gates");
        if !(0.0..=100.0).contains(&max_5xx_percent) {
            let message = "must be from 0 to 100";
            problems.add(&at.field("max_5xx_percent"), FieldCode::OutOfRange, message);
        }
        for (name, value) in
            [("max_failed_applies", max_failed_applies), ("min_requests", min_requests)]
        {
            if value > MAX_GATE {
                let message = format!("must be {MAX_GATE} at most");
                problems.add(&at.field(name), FieldCode::OutOfRange, message);
            }
        }
        if !(1..=MAX_DEADLINE_SECONDS).contains(&deadline_seconds) {
            let message = format!("must be from 1 to {MAX_DEADLINE_SECONDS}");
            problems.add(&at.field("deadline_seconds"), FieldCode::OutOfRange, message);
        }
        let gates = Gates { max_failed_applies, max_5xx_percent, min_requests, deadline_seconds };
        problems.finish(RolloutPlan { revision, waves: parsed, gates, message })
    }
}

impl NewWave {
    fn parse(self, path: &Path<'_>, problems: &mut Problems) -> Option<(WaveAgents, u64)> {
        let Self { selector, percent, agent_ids, soak_seconds } = self;
        if soak_seconds > MAX_SOAK_SECONDS {
            let message = format!("must be {MAX_SOAK_SECONDS} at most");
            problems.add(&path.field("soak_seconds"), FieldCode::OutOfRange, message);
        }
        let which = match (selector, percent, agent_ids) {
            (Some(text), None, None) => {
                let parsed = LabelSelector::parse(&text);
                WaveAgents::Selector(problems.take(&path.field("selector"), parsed)?)
            }
            (None, Some(percent), None) => {
                let part = u8::try_from(percent).ok().filter(|it| (1..=100).contains(it));
                if part.is_none() {
                    let message = "must be from 1 to 100";
                    problems.add(&path.field("percent"), FieldCode::OutOfRange, message);
                }
                WaveAgents::Percent(part?)
            }
            (None, None, Some(ids)) => parse_ids(&ids, &path.field("agent_ids"), problems),
            (None, None, None) => {
                let message = "must have one of selector, percent, agent_ids";
                problems.add(path, FieldCode::Required, message);
                return None;
            }
            _ => {
                let message = "must have only one of selector, percent, agent_ids";
                problems.add(path, FieldCode::Contradiction, message);
                return None;
            }
        };
        Some((which, soak_seconds))
    }
}

fn parse_ids(texts: &[String], path: &Path<'_>, problems: &mut Problems) -> WaveAgents {
    if !(1..=MAX_NAMED_AGENTS).contains(&texts.len()) {
        let message = format!("must name 1 to {MAX_NAMED_AGENTS} agents");
        problems.add(path, FieldCode::OutOfRange, message);
    }
    let mut ids = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(id) => ids.push(id),
            Err(_) => {
                let message = "must be the id of an agent";
                problems.add(&path.index(at), FieldCode::InvalidFormat, message);
            }
        }
    }
    WaveAgents::AgentIds(ids)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn mistakes_are_told_by_field() {
        let many = |count: usize| json!(vec![json!({"percent": 1}); count]);
        let ids = |count: usize| json!(vec!["019aa9d6-0000-7000-8000-000000000000"; count]);
        let good = [
            json!({"message": "m"}),
            json!({"message": "m", "waves": many(MAX_WAVES)}),
            json!({"message": "m", "waves": [{"percent": 100, "soak_seconds": MAX_SOAK_SECONDS}]}),
            json!({"message": "m", "waves": [{"agent_ids": ids(MAX_NAMED_AGENTS)}]}),
            json!({"message": "m", "gates": {"max_5xx_percent": 0}}),
            json!({"message": "m", "gates": {"deadline_seconds": 1}}),
            json!({"message": "m", "gates": {"deadline_seconds": MAX_DEADLINE_SECONDS}}),
        ];
        let parse = |body: Value| {
            serde_json::from_value::<NewRollout>(body).unwrap().parse().map_err(|error| {
                error.fields().iter().map(|it| it.field.clone()).collect::<Vec<_>>().join(" ")
            })
        };
        for body in good {
            assert!(parse(body.clone()).is_ok(), "{body}");
        }
        let bad = [
            (json!({"message": " "}), "message"),
            (json!({"message": "m".repeat(201)}), "message"),
            (json!({"message": "m", "waves": many(MAX_WAVES + 1)}), "waves"),
            (json!({"message": "m", "waves": [{}]}), "waves[0]"),
            (json!({"message": "m", "waves": [{"percent": 1, "selector": "a"}]}), "waves[0]"),
            (json!({"message": "m", "waves": [{"percent": 0}]}), "waves[0].percent"),
            (json!({"message": "m", "waves": [{"percent": 101}]}), "waves[0].percent"),
            (json!({"message": "m", "waves": [{"selector": ">"}]}), "waves[0].selector"),
            (json!({"message": "m", "waves": [{"agent_ids": []}]}), "waves[0].agent_ids"),
            (json!({"message": "m", "waves": [{"agent_ids": ["x"]}]}), "waves[0].agent_ids[0]"),
            (
                json!({"message": "m", "waves": [{"agent_ids": ids(MAX_NAMED_AGENTS + 1)}]}),
                "waves[0].agent_ids",
            ),
            (
                json!({"message": "m", "waves": [{"percent": 1, "soak_seconds": MAX_SOAK_SECONDS + 1}]}),
                "waves[0].soak_seconds",
            ),
            (json!({"message": "m", "gates": {"max_5xx_percent": 100.1}}), "gates.max_5xx_percent"),
            (
                json!({"message": "m", "gates": {"min_requests": MAX_GATE + 1}}),
                "gates.min_requests",
            ),
            (
                json!({"message": "m", "gates": {"max_failed_applies": MAX_GATE + 1}}),
                "gates.max_failed_applies",
            ),
            (json!({"message": "m", "gates": {"deadline_seconds": 0}}), "gates.deadline_seconds"),
            (
                json!({"message": "m", "gates": {"deadline_seconds": MAX_DEADLINE_SECONDS + 1}}),
                "gates.deadline_seconds",
            ),
        ];
        for (body, field) in bad {
            assert_eq!(parse(body.clone()).err().as_deref(), Some(field), "{body}");
        }
    }
}
