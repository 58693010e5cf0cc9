use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Malformed,
    gateway::labels::{Labels, check_key, check_value},
};

/// The longest selector, in bytes.
pub const MAX_SELECTOR_BYTES: usize = 4096;

/// Chooses agents by their labels, in the grammar of Kubernetes: `env=prod`,
/// `env!=prod`, `env in (a,b)`, `env notin (a,b)`, `env`, `!env`, joined by commas.
/// As there, `!=` and `notin` also match where the label is missing.
///
/// ```
/// use nxmesh_core::gateway::{LabelSelector, Labels};
///
/// let selector = LabelSelector::parse("env in (prod, canary), !draining")?;
/// assert!(selector.matches(&Labels::from([("env".into(), "prod".into())])));
/// assert_eq!(selector.to_string(), "env in (canary,prod),!draining");
/// # Ok::<(), nxmesh_core::Malformed>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    Is(String),
    IsNot(String),
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl LabelSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// Says which part is not understood.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(Malformed::range(format!("must have {MAX_SELECTOR_BYTES} bytes at most")));
        }
        parts(text).map(requirement).collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// Whether these labels are meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|it| it.test.holds(labels.get(&it.key).map(String::as_str)))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
            Self::Is(wanted) => value == Some(wanted),
            Self::IsNot(unwanted) => value != Some(unwanted),
            Self::In(wanted) => value.is_some_and(|it| wanted.iter().any(|other| other == it)),
            Self::NotIn(unwanted) => {
                value.is_none_or(|it| unwanted.iter().all(|other| other != it))
            }
        }
    }
}

/// Splits at commas that are not in parentheses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn requirement(part: &str) -> Result<Requirement, Malformed> {
    let part = part.trim();
    let bad = || {
        Malformed::format(format!(
            "{part:?} is none of key=value, key!=value, key in (a,b), key notin (a,b), key, !key"
        ))
    };
    let (key, test) = if let Some(key) = part.strip_prefix('!') {
        (key.trim(), Test::Missing)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key.trim(), Test::IsNot(value.trim().to_owned()))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key.trim(), Test::Is(value.trim().to_owned()))
    } else if let Some((head, list)) = part.split_once('(') {
        let list = list.strip_suffix(')').ok_or_else(bad)?;
        let mut values: Vec<_> = list.split(',').map(|it| it.trim().to_owned()).collect();
        values.sort();
        values.dedup();
        match head.trim().rsplit_once(char::is_whitespace).ok_or_else(bad)? {
            (key, "in") => (key.trim(), Test::In(values)),
            (key, "notin") => (key.trim(), Test::NotIn(values)),
            _ => return Err(bad()),
        }
    } else {
        (part, Test::Exists)
    };
    check_key(key).map_err(|_| bad())?;
    match &test {
        Test::Exists | Test::Missing => {}
        Test::Is(value) | Test::IsNot(value) => check_value(value)?,
        Test::In(values) | Test::NotIn(values) => {
            values.iter().try_for_each(|it| check_value(it))?
        }
    }
    Ok(Requirement { key: key.to_owned(), test })
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, test }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match test {
                Test::Exists => write!(f, "{comma}{key}"),
                Test::Missing => write!(f, "{comma}!{key}"),
                Test::Is(value) => write!(f, "{comma}{key}={value}"),
                Test::IsNot(value) => write!(f, "{comma}{key}!={value}"),
                Test::In(values) => write!(f, "{comma}{key} in ({})", values.join(",")),
                Test::NotIn(values) => write!(f, "{comma}{key} notin ({})", values.join(",")),
            }?;
        }
        Ok(())
    }
}

impl TryFrom<String> for LabelSelector {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::parse(&text)
    }
}

impl From<LabelSelector> for String {
    fn from(selector: LabelSelector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_meaning_that_kubernetes_gives_it() {
        let labels = Labels::from([("env".into(), "prod".into()), ("a.b/c".into(), String::new())]);
        for (selector, matches) in [
            ("env=prod", true),
            ("env==prod", true),
            ("env = prod", true),
            ("env=test", false),
            ("env!=test", true),
            ("tier!=web", true),
            ("env in (prod,test)", true),
            ("env in (test)", false),
            ("tier in (web)", false),
            ("env notin (test)", true),
            ("tier notin (web)", true),
            ("env notin (prod)", false),
            ("env", true),
            ("tier", false),
            ("!tier", true),
            ("! env", false),
            ("env=prod,!tier,a.b/c=", true),
            ("env=prod,tier", false),
        ] {
            let parsed = LabelSelector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&labels), matches, "{selector}");
            assert_eq!(LabelSelector::parse(&parsed.to_string()).unwrap(), parsed);
        }
    }

    #[test]
    fn refuses_what_is_no_selector() {
        for bad in [
            "", ",", "a=b,", "a in b", "a in (b", "a on (b)", "in (b)", "a b", "a=b c", "-a",
            "a=(b)", "a;b",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
        assert!(LabelSelector::parse(&"a".repeat(4097)).is_err());
    }
}
