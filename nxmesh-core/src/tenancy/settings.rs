use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    FieldCode, Path, Problems, RevisionNumber,
    directive::{Context, Directives},
    problems::Malformed,
    text::text_type,
};

/// How many environment variables a workspace may set.
pub const MAX_ENV_VARS: usize = 64;
/// The longest name of one, in bytes.
pub const MAX_ENV_NAME_BYTES: usize = 64;
/// The longest value of one, in bytes.
pub const MAX_ENV_VALUE_BYTES: usize = 1024;

/// What holds for the nginx of every agent of a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Settings {
    /// Directives of the `http` block, by name.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub nginx_directives: Directives,
    /// What nginx's workers find in their environment. Configuration, not a place for secrets:
    /// whoever may read the workspace sees the values, and nginx's files contain them.
    #[serde(default)]
    pub env_vars: BTreeMap<EnvName, EnvValue>,
    /// What agents do when nginx refuses a part of what they should serve.
    #[serde(default)]
    pub on_refusal: OnRefusal,
    /// When agents get what is changed.
    #[serde(default)]
    pub delivery: Delivery,
    /// The revision that made delivery staged: agents stay on it until a rollout brings a newer
    /// one. Nothing while delivery is immediate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_since: Option<RevisionNumber>,
}

/// What an agent does when nginx refuses a part of what it should serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OnRefusal {
    /// That part is held back: its last good version goes on, or it is left out. All else goes
    /// live.
    #[default]
    Quarantine,
    /// Nothing goes live: what was served before goes on.
    Strict,
}

/// When agents get what is changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Delivery {
    /// At once.
    #[default]
    Immediate,
    /// By rollouts.
    Staged,
}

/// What of [`Settings`] agents serve by: it names their content.
#[derive(Serialize)]
pub(crate) struct ServedSettings<'a> {
    nginx_directives: &'a Directives,
    env_vars: &'a BTreeMap<EnvName, EnvValue>,
    on_refusal: OnRefusal,
}

impl Settings {
    /// What agents serve by.
    pub(crate) const fn served(&self) -> ServedSettings<'_> {
        let Self { nginx_directives, env_vars, on_refusal, delivery: _, staged_since: _ } = self;
        ServedSettings { nginx_directives, env_vars, on_refusal: *on_refusal }
    }

    /// The same, but delivered as with `current`: what an old revision was says nothing of how
    /// changes go out now.
    pub(crate) fn delivered_as(&self, current: &Self) -> Self {
        Self { delivery: current.delivery, staged_since: current.staged_since, ..self.clone() }
    }

    /// The same as what `before` becomes at this revision.
    pub(crate) fn after(self, before: &Self, revision: RevisionNumber) -> Self {
        let staged_since = match self.delivery {
            Delivery::Immediate => None,
            Delivery::Staged => before.staged_since.or(Some(revision)),
        };
        Self { staged_since, ..self }
    }
}

/// What a caller writes of [`Settings`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewSettings {
    /// See [`Settings::nginx_directives`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nginx_directives: BTreeMap<String, String>,
    /// See [`Settings::env_vars`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<EnvName, EnvValue>))]
    pub env_vars: BTreeMap<String, String>,
    /// See [`Settings::on_refusal`].
    #[serde(default)]
    pub on_refusal: OnRefusal,
    /// See [`Settings::delivery`].
    #[serde(default)]
    pub delivery: Delivery,
}

text_type! {
    /// The name of an environment variable: a letter or `_`, then letters, digits
    /// and `_`, 64 at most; not one that loads code (`LD_*`) or belongs to nginx.
    EnvName, check_name
}

text_type! {
    /// The value of an environment variable: 1024 bytes at most, no control characters.
    EnvValue, check_value
}

impl NewSettings {
    pub(crate) fn parse(self, path: &Path<'_>, problems: &mut Problems) -> Settings {
        let directives = path.field("nginx_directives");
        let nginx_directives =
            Directives::parse(self.nginx_directives, Context::Http, &directives, problems);
        let at = path.field("env_vars");
        if self.env_vars.len() > MAX_ENV_VARS {
            problems.add(&at, FieldCode::OutOfRange, format!("must be {MAX_ENV_VARS} at most"));
        }
        let env_vars = self.env_vars.into_iter().filter_map(|(name, value)| {
            let at = at.field(&name);
            let value = problems.take(&at, EnvValue::parse(value));
            let name = problems.take(&at, EnvName::parse(name.as_str()));
            name.zip(value)
        });
        Settings {
            nginx_directives,
            env_vars: env_vars.collect(),
            on_refusal: self.on_refusal,
            delivery: self.delivery,
            staged_since: None,
        }
    }
}

impl From<Settings> for NewSettings {
    fn from(settings: Settings) -> Self {
        let Settings { nginx_directives, env_vars, on_refusal, delivery, staged_since: _ } =
            settings;
        let env_vars = env_vars.into_iter().map(|(name, value)| (name.into(), value.into()));
        let env_vars = env_vars.collect();
        Self { nginx_directives: nginx_directives.into(), env_vars, on_refusal, delivery }
    }
}

fn check_name(name: &str) -> Result<(), Malformed> {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let rest = |byte: u8| first(byte) || byte.is_ascii_digit();
    let well_formed = name.bytes().next().is_some_and(first) && name.bytes().all(rest);
    if !well_formed || name.len() > MAX_ENV_NAME_BYTES {
        return Err(Malformed::format(format!(
            "must be a letter or _, then letters, digits and _, {MAX_ENV_NAME_BYTES} at most"
        )));
    }
    // LD_PRELOAD and its kin load code into whatever nginx executes; NGINX and
    // NGINX_BPF_MAPS are how nginx hands sockets to its successor.
    if name.starts_with("LD_") || name.starts_with("NGINX") {
        return Err(Malformed::forbidden("may not be set: it changes how nginx itself is run"));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), Malformed> {
    if value.len() > MAX_ENV_VALUE_BYTES {
        return Err(Malformed::range(format!("must have {MAX_ENV_VALUE_BYTES} bytes at most")));
    }
    if value.chars().any(char::is_control) {
        return Err(Malformed::format("must not contain control characters"));
    }
    Ok(())
}
