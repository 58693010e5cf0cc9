mod parser;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Malformed, gateway::labels::Labels};

/// The longest selector, in bytes.
pub const MAX_SELECTOR_BYTES: usize = 4096;

/// Chooses agents by their labels, in the grammar of Kubernetes: `env=prod`,
/// `env!=prod`, `env in (a,b)`, `env notin (a,b)`, `env`, `!env`, joined by commas.
/// As there, `!=` and `notin` also match where the label is missing. Unlike there, an empty
/// selector is refused, so that nobody chooses all agents by leaving something out, and so
/// are `>` and `<`.
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
        let selector = parser::parse(text).map(Self)?;
        // It is stored as it is written here, which may be longer: `in(a)` becomes `in (a)`.
        if selector.to_string().len() > MAX_SELECTOR_BYTES {
            return Err(Malformed::range(format!("must have {MAX_SELECTOR_BYTES} bytes at most")));
        }
        Ok(selector)
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

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, test }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match test {
                Test::Exists => write!(f, "{comma}{key}"),
                Test::Missing => write!(f, "{comma}!{key}"),
                Test::Is(value) => write!(f, "{comma}{key}={value}"),
                Test::IsNot(value) => write!(f, "{comma}{key}!={value}"),
                Test::In(values) => write!(f, "{comma}{key} in ({})", list(values)),
                Test::NotIn(values) => write!(f, "{comma}{key} notin ({})", list(values)),
            }?;
        }
        Ok(())
    }
}

/// The values between the parentheses; `(,)` is the empty one alone.
fn list(values: &[String]) -> String {
    match values {
        [only] if only.is_empty() => ",".to_owned(),
        values => values.join(","),
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

    /// What Kubernetes accepts, how it is written here, and whether it matches
    /// `env=prod`, `a.b/c` with an empty value, and `in=notin`.
    #[rustfmt::skip]
    const ACCEPTED: &[(&str, &str, bool)] = &[
        ("env=prod", "env=prod", true),
        ("env==prod", "env=prod", true),
        ("env = prod", "env=prod", true),
        (" env\t==\r\nprod ", "env=prod", true),
        ("env=test", "env=test", false),
        ("env=", "env=", false),
        ("env=,in", "env=,in", false),
        ("a.b/c=", "a.b/c=", true),
        ("a.b/c==", "a.b/c=", true),
        ("a.b/c!=", "a.b/c!=", false),
        ("tier=", "tier=", false),
        ("tier!=", "tier!=", true),
        ("env!=test", "env!=test", true),
        ("env!=prod", "env!=prod", false),
        ("tier!=web", "tier!=web", true),
        ("env in (prod,test)", "env in (prod,test)", true),
        ("env in(prod)", "env in (prod)", true),
        ("env  in  ( test , prod , test )", "env in (prod,test)", true),
        ("env in (test)", "env in (test)", false),
        ("tier in (web)", "tier in (web)", false),
        ("a.b/c in (,)", "a.b/c in (,)", true),
        ("a.b/c in (,a)", "a.b/c in (,a)", true),
        ("a.b/c in (a,)", "a.b/c in (,a)", true),
        ("a.b/c in (a,,b)", "a.b/c in (,a,b)", true),
        ("a.b/c notin (,)", "a.b/c notin (,)", false),
        ("tier in (,)", "tier in (,)", false),
        ("tier notin (,)", "tier notin (,)", true),
        ("env notin (test)", "env notin (test)", true),
        ("env notin(prod)", "env notin (prod)", false),
        ("tier notin (web)", "tier notin (web)", true),
        ("env", "env", true),
        ("tier", "tier", false),
        ("!tier", "!tier", true),
        ("! env", "!env", false),
        ("env=prod,!tier,a.b/c=", "env=prod,!tier,a.b/c=", true),
        ("env=prod , tier", "env=prod,tier", false),
        ("env=prod,env=prod", "env=prod,env=prod", true),
        ("env=prod,env!=prod", "env=prod,env!=prod", false),
        ("env in (prod),env in (test)", "env in (prod),env in (test)", false),
        // These are keys and values where no operator can stand.
        ("in", "in", true),
        ("notin", "notin", false),
        ("in in (in,notin)", "in in (in,notin)", true),
        ("in=notin", "in=notin", true),
        ("!in", "!in", false),
        ("in,notin", "in,notin", false),
        ("x_Y.z-0=A_b.c-9", "x_Y.z-0=A_b.c-9", false),
    ];

    /// What Kubernetes refuses.
    const REFUSED: &[&str] = &[
        ",",
        ",a",
        "a,",
        "a=b,",
        "a,,b",
        "a=b,,c=d",
        "a b",
        "a in b",
        "a in",
        "a in (",
        "a in (b",
        "a in b)",
        "a in (b c)",
        "a in (b=c)",
        "a in (b))",
        "a in ((b))",
        "a in ()",
        "a notin ()",
        "a notin ( )",
        "a on (b)",
        "a IN (b)",
        "in (b)",
        "(a)",
        "a)",
        "a (b)",
        "=a",
        "==a",
        "!=a",
        "!",
        "!!a",
        "! ! a",
        "!a=b",
        "!a in (b)",
        "a!",
        "a!b",
        "a=!b",
        "a=b=c",
        "a===b",
        "a= =b",
        "a! =b",
        "a=b c",
        "a=(b)",
        "a=b)",
        "-a",
        "a-",
        "_a",
        ".a",
        "a;b",
        "a=-b",
        "a=b-",
        "a=b/c",
        "a=*",
        "a*",
        "a in (b,-c)",
        "/a",
        "a/",
        "a/b/c",
        "A.b/c",
        "-a/c",
        "a-/c",
        ".a/c",
        "a./c",
        "a..b/c",
        "a.-b/c",
        "a_b/c",
        "ä",
        "a=ä",
        "a\u{a0}=b",
        "a\u{2028}",
        "a\u{b}b",
        "\"a\"=b",
    ];

    #[test]
    fn what_kubernetes_accepts_has_the_meaning_that_it_has_there() {
        let labels = [("env", "prod"), ("a.b/c", ""), ("in", "notin")];
        let labels: Labels = labels.map(|(key, value)| (key.into(), value.into())).into();
        for (selector, written, matches) in ACCEPTED {
            let parsed =
                LabelSelector::parse(selector).unwrap_or_else(|it| panic!("{selector}: {it}"));
            assert_eq!(parsed.to_string(), *written, "{selector}");
            assert_eq!(LabelSelector::parse(written).unwrap(), parsed);
            assert_eq!(parsed.matches(&labels), *matches, "{selector}");
        }
    }

    #[test]
    fn what_kubernetes_refuses_is_refused() {
        for bad in REFUSED {
            assert!(LabelSelector::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_with_the_reason() {
        let reason = |text: &str| LabelSelector::parse(text).unwrap_err().message;
        for text in ["cores>4", "cores < 4", "cores>=4", "a,cores>4"] {
            assert!(reason(text).contains("is not supported"), "{text}: {}", reason(text));
        }
        for text in ["", " \t"] {
            assert_eq!(reason(text), "must name one label at least");
        }
    }

    #[test]
    fn keys_and_values_have_the_limits_of_kubernetes() {
        let (name, prefix) = ("n".repeat(63), ["p".repeat(63), "q".repeat(189)].join("."));
        for (key, value, accepted) in [
            (name.clone(), String::new(), true),
            (format!("{name}n"), String::new(), false),
            (format!("{prefix}/{name}"), name.clone(), true),
            (format!("{prefix}p/{name}"), String::new(), false),
            (format!("{prefix}/{name}n"), String::new(), false),
            ("a".into(), format!("{name}n"), false),
        ] {
            let texts = [format!("{key}={value}"), format!("{key} in ({value},)")];
            for text in texts {
                assert_eq!(LabelSelector::parse(&text).is_ok(), accepted, "{text}");
            }
        }
    }

    #[test]
    fn what_is_accepted_can_be_read_again_at_the_edge_of_its_length() {
        assert!(LabelSelector::parse(&"a".repeat(4097)).is_err());
        let longest = vec!["a in (b)"; 455].join(",");
        assert_eq!(longest.len(), 4094);
        let parsed = LabelSelector::parse(&longest).unwrap();
        assert_eq!(LabelSelector::parse(&parsed.to_string()).unwrap(), parsed);
        // It would be longer than what is accepted, once it is written.
        let dense = vec!["a in(b)"; 512].join(",");
        assert_eq!(dense.len(), 4095);
        assert!(LabelSelector::parse(&dense).is_err());
    }
}
