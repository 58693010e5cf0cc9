//! The forms of texts as regular expressions of ECMA-262, beside what parses them: a test takes
//! the one for the other.

use crate::gateway::location_parts::{DECODED, VARIABLE_PREFIXES, VARIABLES};

/// Inside a class: what `char::is_control` knows.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";

pub(super) const HEADER_NAME: &str = "^[!#%&'*+.^_`|~0-9A-Za-z-]+$";

/// Names without blanks, none of which is `..`.
pub(super) const INDEX_FILES: &str = r"^([A-Za-z0-9_-][A-Za-z0-9._-]*|\.([A-Za-z0-9_-][A-Za-z0-9._-]*)?|\.\.[A-Za-z0-9._-]+)( ([A-Za-z0-9_-][A-Za-z0-9._-]*|\.([A-Za-z0-9_-][A-Za-z0-9._-]*)?|\.\.[A-Za-z0-9._-]+))*$";

const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
/// A prefix may have 253 characters in all, which is not said here.
const LABEL_KEY: &str = r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
const HOST_LABEL: &str = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
const PORT: &str =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

pub(super) fn no_control() -> String {
    format!("^[^{CONTROL}]*$")
}

pub(super) fn label() -> String {
    format!(r"^[^{CONTROL}]*[^{CONTROL}\s][^{CONTROL}]*$")
}

/// Lengths are in characters here, and in bytes where they are checked.
pub(super) fn email() -> String {
    format!(r"^[^\s{CONTROL}]{{1,64}}@[^\s@{CONTROL}]{{1,255}}$")
}

pub(super) fn label_key() -> String {
    format!("^{LABEL_KEY}$")
}

pub(super) fn label_value() -> String {
    format!("^({LABEL})?$")
}

pub(super) fn label_selector() -> String {
    let value = format!("({LABEL})?");
    // One value at least, which may be empty if there is a comma.
    let list = format!(r"\( *({LABEL} *(, *{value} *)*|(, *{value} *)+)\)");
    let requirement = format!(
        "({LABEL_KEY}|! *{LABEL_KEY}|{LABEL_KEY} *(!=|==?) *{value}|{LABEL_KEY} +(in|notin) *{list})"
    );
    format!("^ *{requirement} *(, *{requirement} *)*$")
}

pub(super) fn server_address() -> String {
    format!("^({}|{}):0*{PORT}$", host(), ipv6())
}

pub(super) fn server_names() -> String {
    let name = format!(r"(_|\*\.{host}|{host}(\.\*)?)", host = host());
    format!("^ *{name}( +{name}){{0,63}} *$")
}

pub(super) fn proxy_url() -> String {
    let rest = format!(r#"[/?][^{CONTROL} $"'\\;{{}}#]*"#);
    format!("^https?://({}|{})(:0*{PORT})?({rest})?$", host(), ipv6())
}

pub(super) fn location_path() -> String {
    format!("^/[^${CONTROL}]*$")
}

pub(super) fn root() -> String {
    let any = format!("[^/${CONTROL}]");
    let no_dot = format!("[^/.${CONTROL}]");
    format!(r"^(/({no_dot}{any}*|\.({no_dot}{any}*)?|\.\.{any}+)?)+$")
}

pub(super) fn header_value() -> String {
    let text = format!("[^${CONTROL}]*");
    format!("^{text}({})*$", variable(&known_variables(&[])))
}

pub(super) fn replacement() -> String {
    let group = format!(r"\$[1-9][^${CONTROL}]*|\$\{{[1-9]\}}[^${CONTROL}]*");
    let rest = format!("({group}|{})*", variable(&known_variables(DECODED)));
    format!(r"^(/|https?://|\$scheme://)[^${CONTROL}]*{rest}$")
}

/// Tokens, bare or quoted, with spaces between.
pub(super) fn directive() -> String {
    let bare = format!(r#"[^ ;{{}}"'\\#{CONTROL}]+"#);
    let double = format!(r#""([^"\\{CONTROL}]|\\[^{CONTROL}])*""#);
    let single = format!(r"'([^'\\{CONTROL}]|\\[^{CONTROL}])*'");
    let token = format!("({bare}|{double}|{single})");
    format!("^ *{token}( +{token})* *$")
}

fn host() -> String {
    format!(r"{HOST_LABEL}(\.{HOST_LABEL})*")
}

fn known_variables(more: &[&str]) -> String {
    let exact = VARIABLES.iter().chain(more).copied().collect::<Vec<_>>().join("|");
    format!("({exact}|({})[A-Za-z0-9_]+)", VARIABLE_PREFIXES.join("|"))
}

/// A variable, and the text after it: bare it ends where its name does.
fn variable(names: &str) -> String {
    format!(r"\$({names}([^A-Za-z0-9_${CONTROL}][^${CONTROL}]*)?|\{{{names}\}}[^${CONTROL}]*)")
}

/// An IPv6 address in brackets (RFC 4291 2.2).
fn ipv6() -> String {
    let group = "[0-9A-Fa-f]{1,4}";
    let v4 = r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let last = format!("({group}:{group}|{v4})");
    let mut forms = vec![
        format!("({group}:){{6}}{last}"),
        format!("::({group}:){{0,5}}{last}"),
        format!("({group}:){{1,7}}:"),
        format!("::({group})?"),
    ];
    // `::` after so many groups, with as many behind it as are left.
    for before in 1..=6 {
        let left = 6 - before;
        forms.push(format!("({group}:){{{before}}}(:{group}){{1,{}}}", left + 1));
        if left > 0 {
            forms.push(format!("({group}:){{{before}}}:({group}:){{0,{}}}{v4}", left - 1));
        }
    }
    format!(r"\[({})\]", forms.join("|"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::{
        string::string_regex,
        test_runner::{Config, TestRunner},
    };
    use regex::Regex;

    use super::*;
    use crate::{
        Path, Problems,
        directive::{Context, Directives},
        gateway::{
            LabelSelector, ObjectName, ServerAddress, ServerNames, labels,
            location_parts::{
                HeaderName, HeaderValue, IndexFiles, LocationPath, ProxyUrl, Replacement, Root,
            },
        },
        tenancy::{Email, EnvValue, MAX_DOMAIN_BYTES, MAX_LOCAL_BYTES},
    };

    type Accepts = fn(&str) -> bool;

    fn is_directive(text: &str) -> bool {
        let mut problems = Problems::default();
        let texts = BTreeMap::from([("gzip".to_owned(), text.to_owned())]);
        Directives::parse(texts, Context::Http, &Path::root(), &mut problems);
        problems.is_empty()
    }

    fn is_long_in_bytes(email: &str) -> bool {
        email.rsplit_once('@').is_some_and(|(local, domain)| {
            local.len() > MAX_LOCAL_BYTES || domain.len() > MAX_DOMAIN_BYTES
        })
    }

    fn has_long_prefix(text: &str) -> bool {
        let prefixes =
            text.split('/').filter_map(|it| it.split([' ', ',', '!', '(', ')', '=']).next_back());
        prefixes.into_iter().any(|it| it.len() > 253)
    }

    fn names_one_twice(names: &str) -> bool {
        let mut seen = BTreeSet::new();
        !names.split(' ').filter(|it| !it.is_empty()).all(|it| seen.insert(it.to_lowercase()))
    }

    /// Each pattern, what it stands for, and texts at its edges.
    fn all() -> Vec<(String, Accepts, Vec<&'static str>)> {
        vec![
            (
                label(),
                |it| ObjectName::parse(it).is_ok(),
                vec!["a", " a ", " ", "", "a\u{7f}", "a\nb", "ä", "\u{a0}"],
            ),
            (no_control(), |it| EnvValue::parse(it).is_ok(), vec!["", "a b", "a\tb", "\u{85}"]),
            (
                email(),
                |it| Email::parse(it).is_ok() || is_long_in_bytes(it),
                vec!["a@b", "a@b@c", "@b", "a@", "a b@c", "a"],
            ),
            (
                label_key(),
                |it| labels::check_key(it).is_ok() || has_long_prefix(it),
                vec![
                    "a", "a/b", "a.b/c-d", "-/a", "a-/b", "a..b/c", ".a/b", "a-b.c/d", "/a", "a/",
                    "-a", "a-", "A/b", "a/b/c",
                ],
            ),
            (
                label_value(),
                |it| labels::check_value(it).is_ok(),
                vec!["", "a", "a.b", ".a", "a_", "ä"],
            ),
            (
                label_selector(),
                |it| LabelSelector::parse(it).is_ok() || has_long_prefix(it),
                vec![
                    "a",
                    "!a",
                    "a=b",
                    "a==b",
                    "a!=b",
                    "a in (b,c)",
                    "a notin ()",
                    "a in ( )",
                    "a in (,)",
                    "a in (b,)",
                    "a in (,b)",
                    "-/a",
                    "a in(b)",
                    " a , b ",
                    "a=b c",
                    "",
                    ",",
                    "a,",
                    "(a",
                    "a=(b)",
                ],
            ),
            (
                server_address(),
                |it| ServerAddress::parse(it).is_ok(),
                vec![
                    "a:1",
                    "a:0",
                    "a:65535",
                    "a:65536",
                    "a:+1",
                    "a:0080",
                    "[::1]:80",
                    "[1::]:80",
                    "[::]:1",
                    "[1:2:3:4:5:6:7:8]:1",
                    "[1:2:3:4:5:6:7::]:1",
                    "[1:2:3:4:5:6:7:8:9]:1",
                    "[::1.2.3.4]:1",
                    "[1::2:3.4.5.6]:1",
                    "[1:2:3:4:5:6:1.2.3.4]:1",
                    "[::1.2.3.400]:1",
                    "[1::2::3]:1",
                    "[:::]:1",
                    "[1:2:3:4:5:6::8]:1",
                    "[1:2:3:4:5::1.2.3.4]:1",
                    "::1:80",
                    "-a:1",
                    "a_b.c:80",
                    "a..b:1",
                    "a:",
                ],
            ),
            (
                server_names(),
                |it| ServerNames::parse(it).is_ok() || names_one_twice(it),
                vec![
                    "a", "_", "*.a", "a.*", "*.a.*", "*", "A b", " a  b ", "a\u{a0}b", "", "a.",
                    "xn--a",
                ],
            ),
            (
                proxy_url(),
                |it| ProxyUrl::parse(it).is_ok(),
                vec![
                    "http://a",
                    "https://a:1/b?c",
                    "http://a?b",
                    "http://[::1]:80/",
                    "http://[::1]x",
                    "http://a:0",
                    "ftp://a",
                    "http://",
                    "http://a b",
                    "http://a/$b",
                    "http://a#b",
                    "http://a:+1",
                ],
            ),
            (
                location_path(),
                |it| LocationPath::parse(it).is_ok(),
                vec!["/", "/a b", "/$a", "a", "/ä", "/\n"],
            ),
            (
                root(),
                |it| Root::parse(it).is_ok(),
                vec![
                    "/", "/a/b", "/..", "/../a", "/a/..", "/.a", "/...", "/..a", "//", "/a/./b",
                    "/$a", "a",
                ],
            ),
            (
                INDEX_FILES.to_owned(),
                |it| IndexFiles::parse(it).is_ok(),
                vec!["a.html", "a b", "a  b", "..", "a ..", "...", ".", ".a", "..a", "a/b", ""],
            ),
            (
                HEADER_NAME.to_owned(),
                |it| HeaderName::parse(it).is_ok(),
                vec!["X-A", "a b", "a$", "a:", "", "~"],
            ),
            (
                header_value(),
                |it| HeaderValue::parse(it).is_ok(),
                vec![
                    "a",
                    "$scheme",
                    "$scheme://$host",
                    "${host}a",
                    "$hosta",
                    "$host_",
                    "$http_a",
                    "$http_",
                    "$uri",
                    "$",
                    "$$",
                    "a$1",
                    "${",
                    "${host",
                    "$host$args",
                ],
            ),
            (
                replacement(),
                |it| Replacement::parse(it).is_ok(),
                vec![
                    "/",
                    "/$1",
                    "/$1a",
                    "/${1}",
                    "/$0",
                    "/$10",
                    "/$uri",
                    "http://$host$request_uri",
                    "$scheme://a",
                    "$host/",
                    "a",
                    "/${uri}b",
                ],
            ),
            (
                directive(),
                is_directive,
                vec![
                    "on",
                    " 1  r ",
                    "\"a b\" c",
                    "\"a\"b",
                    "a\"b",
                    "a;b",
                    "\"a;b\"",
                    "'{'",
                    "\"a\\\"b\"",
                    "\"a",
                    "",
                    " ",
                    "#a",
                    "a\\b",
                ],
            ),
        ]
    }

    #[test]
    fn whatever_a_pattern_allows_is_accepted() {
        for (pattern, accepts, _) in all() {
            let inner = pattern.trim_start_matches('^').trim_end_matches('$');
            let texts = string_regex(inner).unwrap();
            let mut runner = TestRunner::new(Config { cases: 100, ..Config::default() });
            let checked = runner.run(&texts, |text| {
                // Lengths are another keyword.
                let long = text.len() > 200;
                proptest::prop_assert!(long || text.is_empty() || accepts(&text), "{text:?}");
                Ok(())
            });
            checked.unwrap_or_else(|error| panic!("{pattern}: {error}"));
        }
    }

    #[test]
    fn patterns_and_parsing_agree_at_the_edges() {
        for (pattern, accepts, texts) in all() {
            let regex = Regex::new(&pattern).unwrap();
            for text in texts.into_iter().filter(|it| !it.is_empty()) {
                assert_eq!(regex.is_match(text), accepts(text), "{text:?} {pattern}");
            }
        }
    }
}
