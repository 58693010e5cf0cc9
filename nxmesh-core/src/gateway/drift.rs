//! What somebody else changes on the host of an agent, and what the agent does about it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{FieldCode, Path, Problems, clock};

/// How long what somebody changed on a host may be left as it is, in days.
pub const MAX_ADOPT_DAYS: i64 = 7;
/// How many files of a drift are named; the rest is counted.
pub const MAX_DRIFTED_FILES: usize = 20;
/// How much of the difference of a file is kept, in bytes.
pub const MAX_DRIFT_DIFF: usize = 16 * 1024;
/// How much of a path is kept, in bytes: as long as Linux takes them (`PATH_MAX`, limits.h).
const MAX_PATH: usize = 4096;

/// What an agent does when somebody else changed what it looks after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DriftPolicy {
    /// It puts back what it wrote.
    #[default]
    Restore,
    /// It only tells: what was changed stays until it is mended, or the next configuration.
    Report,
    /// What was changed stays, and no other configuration comes, until then. Afterwards it is
    /// put back.
    Adopt {
        /// Until when: at most 7 days from when this is decided.
        until: DateTime<Utc>,
    },
}

impl DriftPolicy {
    /// What holds at this time.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>) -> Self {
        match self {
            Self::Adopt { until } if until <= now => Self::Restore,
            Self::Adopt { .. } | Self::Report | Self::Restore => self,
        }
    }

    /// Until when no other configuration comes; `None` where it may come.
    #[must_use]
    pub fn held_until(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.at(now) {
            Self::Adopt { until } => Some(until),
            Self::Report | Self::Restore => None,
        }
    }
}

/// What a caller writes of [`DriftPolicy`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDriftPolicy {
    /// `restore`, `report` or `adopt`; left out, it is `restore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// For `adopt`: in the future, and at most 7 days from now.
    #[serde(default, deserialize_with = "clock::exact", skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl NewDriftPolicy {
    pub(crate) fn parse(self, path: &Path<'_>, problems: &mut Problems) -> DriftPolicy {
        let Self { policy, until } = self;
        let policy = policy.as_deref().unwrap_or("restore");
        let at = path.field("until");
        if until.is_some() && matches!(policy, "restore" | "report") {
            problems.add(&at, FieldCode::Contradiction, "goes with the policy adopt only");
        }
        match (policy, until) {
            ("restore", _) => DriftPolicy::Restore,
            ("report", _) => DriftPolicy::Report,
            // Whole seconds are all that agents are told.
            ("adopt", Some(until)) => DriftPolicy::Adopt {
                until: DateTime::from_timestamp(until.timestamp(), 0).unwrap_or(until),
            },
            ("adopt", None) => {
                problems.add(&at, FieldCode::Required, "is required with the policy adopt");
                DriftPolicy::Restore
            }
            _ => {
                let message = "must be one of restore, report, adopt";
                problems.add(&path.field("policy"), FieldCode::InvalidValue, message);
                DriftPolicy::Restore
            }
        }
    }
}

/// Whether a policy may be decided on at this time.
pub(crate) fn check_until(
    policy: DriftPolicy,
    now: DateTime<Utc>,
    path: &Path<'_>,
    problems: &mut Problems,
) {
    let DriftPolicy::Adopt { until } = policy else { return };
    if until <= now || until > now + TimeDelta::days(MAX_ADOPT_DAYS) {
        let message = format!("must be in the future, at most {MAX_ADOPT_DAYS} days from now");
        problems.add(&path.field("until"), FieldCode::OutOfRange, message);
    }
}

impl From<DriftPolicy> for NewDriftPolicy {
    fn from(policy: DriftPolicy) -> Self {
        let named = |name: &str, until| Self { policy: Some(name.to_owned()), until };
        match policy {
            DriftPolicy::Restore => named("restore", None),
            DriftPolicy::Report => named("report", None),
            DriftPolicy::Adopt { until } => named("adopt", Some(until)),
        }
    }
}

/// How something differs from what the agent wrote and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DriftKind {
    /// Something else is in the file, or it is no file any more.
    Changed,
    /// The file is gone.
    Missing,
    /// There is a file that the agent did not write.
    Added,
    /// The file belongs to somebody else, or others may do with it what they may not.
    Permissions,
    /// The link to the current configuration points elsewhere.
    Link,
    /// All workers of nginx were replaced, and not by the agent.
    NginxReloaded,
    /// nginx has another master, which the agent did not start.
    NginxRestarted,
    /// nginx's master is gone, and the agent did not stop it.
    NginxStopped,
}

/// Something that differs from what the agent wrote and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DriftedFile {
    /// The file, from the folder of the configuration; `current` and `verified` are the links
    /// to it, `nginx` its processes.
    pub path: String,
    /// How it differs.
    pub kind: DriftKind,
    /// When that was noticed.
    pub since: DateTime<Utc>,
    /// From what the agent wrote to what is there, as a unified diff; nothing where that cannot
    /// be shown: of private keys, and of what is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Whether the diff goes on: 16 KiB of it are kept.
    #[serde(default)]
    pub truncated: bool,
}

/// What differs now, by the agent's last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The policy that the agent follows.
    #[serde(flatten)]
    pub policy: DriftPolicy,
    /// What differs, without diffs; the first [`MAX_DRIFTED_FILES`].
    pub files: Vec<DriftedFile>,
    /// How many there are.
    pub total: u32,
}

/// What became of a drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriftChange {
    /// Something differs, or something else than before.
    Found(DriftFound),
    /// Nothing differs any more.
    Ended(DriftEnded),
}

/// Something differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftFound {
    /// When that was noticed.
    pub at: DateTime<Utc>,
    /// What differs, with diffs; the first [`MAX_DRIFTED_FILES`].
    pub files: Vec<DriftedFile>,
    /// How many there are.
    pub total: u32,
}

/// Nothing differs any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DriftEnded {
    /// When that was so.
    pub at: DateTime<Utc>,
    /// Who saw to it.
    pub by: DriftEnd,
}

/// Who put an end to a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DriftEnd {
    /// The agent put back what it wrote, or found that what runs is right.
    Agent,
    /// Whoever changed it, or somebody else on the host.
    Hand,
    /// A newer configuration.
    Update,
}

/// The last drift of an agent, whether or not it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DriftRecord {
    /// When it was noticed, as it is shown here.
    pub detected_at: DateTime<Utc>,
    /// How it ended; nothing as long as it goes on.
    #[serde(default)]
    pub ended: Option<DriftEnded>,
    /// What differed; the first 20.
    pub files: Vec<DriftedFile>,
    /// How many there were.
    pub total: u32,
}

impl DriftRecord {
    /// What is known of a drift after this became of it.
    #[must_use]
    pub fn after(before: Option<Self>, change: DriftChange) -> Option<Self> {
        match change {
            DriftChange::Found(DriftFound { at, mut files, total }) => {
                files.truncate(MAX_DRIFTED_FILES);
                files.iter_mut().for_each(bound);
                Some(Self { detected_at: at, ended: None, files, total })
            }
            DriftChange::Ended(ended) => before.map(|it| Self { ended: Some(ended), ..it }),
        }
    }
}

impl DriftedFile {
    /// The same without its diff.
    #[must_use]
    pub fn named(&self) -> Self {
        let mut path = self.path.clone();
        path.truncate(path.floor_char_boundary(MAX_PATH));
        Self { path, kind: self.kind, since: self.since, diff: None, truncated: false }
    }
}

/// Agents are not taken at their word.
fn bound(file: &mut DriftedFile) {
    file.path.truncate(file.path.floor_char_boundary(MAX_PATH));
    if let Some(diff) = &mut file.diff
        && diff.len() > MAX_DRIFT_DIFF
    {
        diff.truncate(diff.floor_char_boundary(MAX_DRIFT_DIFF));
        file.truncated = true;
    }
}

/// What an agent does about drift, and what differs now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentDrift {
    /// What the agent should do.
    #[serde(flatten)]
    pub policy: DriftPolicy,
    /// What differs, by the last report and without diffs; the first 20.
    pub files: Vec<DriftedFile>,
    /// How many there are.
    pub total: u32,
}

/// What an agent does about drift, and the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DriftDetails {
    /// What the agent should do.
    #[serde(flatten)]
    pub policy: DriftPolicy,
    /// The last drift; nothing when there was none.
    pub last: Option<DriftRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> Result<DriftPolicy, String> {
        let new: NewDriftPolicy = serde_json::from_value(json).map_err(|it| it.to_string())?;
        let mut problems = Problems::default();
        let root = Path::root();
        let policy = new.parse(&root.field("drift"), &mut problems);
        let now = DateTime::UNIX_EPOCH;
        check_until(policy, now, &root.field("drift"), &mut problems);
        let said = |error: crate::Error| {
            format!("{} {:?}", error.fields()[0].field, error.fields()[0].code)
        };
        problems.finish_with(Some(policy)).map_err(said)
    }

    #[test]
    fn a_policy_says_until_when_exactly_where_it_ends() {
        use serde_json::json;
        let after = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let week = 7 * 24 * 3600;
        let adopt = |seconds| json!({"policy": "adopt", "until": after(seconds)});
        assert_eq!(parse(json!({})), Ok(DriftPolicy::Restore));
        assert_eq!(parse(json!({"policy": "report"})), Ok(DriftPolicy::Report));
        assert_eq!(parse(adopt(1)), Ok(DriftPolicy::Adopt { until: after(1) }));
        assert_eq!(parse(adopt(week)), Ok(DriftPolicy::Adopt { until: after(week) }));
        for (json, said) in [
            (adopt(0), "drift.until OutOfRange"),
            (adopt(week + 1), "drift.until OutOfRange"),
            (json!({"policy": "adopt"}), "drift.until Required"),
            (json!({"policy": "report", "until": after(1)}), "drift.until Contradiction"),
            (json!({"until": after(1)}), "drift.until Contradiction"),
            (json!({"policy": "ignore"}), "drift.policy InvalidValue"),
        ] {
            assert_eq!(parse(json.clone()), Err(said.to_owned()), "{json}");
        }
    }

    #[test]
    fn what_was_adopted_is_restored_when_its_time_is_over() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let adopt = DriftPolicy::Adopt { until: at(10) };
        assert_eq!((adopt.at(at(9)), adopt.held_until(at(9))), (adopt, Some(at(10))));
        assert_eq!((adopt.at(at(10)), adopt.held_until(at(10))), (DriftPolicy::Restore, None));
        assert_eq!(DriftPolicy::Report.at(at(99)), DriftPolicy::Report);
    }

    #[test]
    fn what_an_agent_tells_is_bounded_at_its_edge() {
        let file = |diff: String| DriftedFile {
            path: "a".into(),
            kind: DriftKind::Changed,
            since: DateTime::UNIX_EPOCH,
            diff: Some(diff),
            truncated: false,
        };
        let told = |count: usize, diff: String| {
            let files = vec![file(diff); count];
            let total = u32::try_from(count).unwrap();
            let found = DriftFound { at: DateTime::UNIX_EPOCH, files, total };
            DriftRecord::after(None, DriftChange::Found(found)).unwrap()
        };
        let fits = told(MAX_DRIFTED_FILES, "ä".repeat(MAX_DRIFT_DIFF / 2));
        assert_eq!((fits.files.len(), fits.total, fits.files[0].truncated), (20, 20, false));
        let cut = told(MAX_DRIFTED_FILES + 1, format!("a{}", "ä".repeat(MAX_DRIFT_DIFF / 2)));
        assert_eq!((cut.files.len(), cut.total, cut.files[0].truncated), (20, 21, true));
        assert_eq!(cut.files[0].diff.as_ref().unwrap().len(), MAX_DRIFT_DIFF - 1);
    }
}
