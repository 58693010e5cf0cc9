use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Context, allowed, tokens};
use crate::{FieldCode, Malformed, Path, Problems, text::check_token};

/// How many directives one object may have.
pub const MAX_DIRECTIVES: usize = 64;
/// The longest text of a directive, in bytes; one argument has 4093 at most, which is what nginx
/// takes.
pub const MAX_DIRECTIVE_BYTES: usize = 4096;

/// Directives by name, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Directives(BTreeMap<String, Value>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    text: String,
    args: Vec<String>,
}

impl Directives {
    /// Takes what is allowed in this context, and notes what is not.
    pub fn parse(
        texts: BTreeMap<String, String>,
        context: Context,
        path: &Path<'_>,
        problems: &mut Problems,
    ) -> Self {
        if texts.len() > MAX_DIRECTIVES {
            problems.add(path, FieldCode::OutOfRange, format!("must be {MAX_DIRECTIVES} at most"));
        }
        let parsed = texts.into_iter().filter_map(|(name, text)| {
            let at = path.field(&name);
            problems.take(&at, context.check(&name))?;
            problems.take(&at, Value::parse(text)).map(|value| (name.clone(), value))
        });
        Self(parsed.collect())
    }

    /// Name and arguments of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.args.as_slice()))
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl Value {
    fn parse(text: String) -> Result<Self, Malformed> {
        if text.len() > MAX_DIRECTIVE_BYTES {
            return Err(Malformed::range(format!("must have {MAX_DIRECTIVE_BYTES} bytes at most")));
        }
        let args = tokens::split(&text)?;
        args.iter().try_for_each(|arg| check_token(arg))?;
        Ok(Self { text, args })
    }
}

impl TryFrom<BTreeMap<String, String>> for Directives {
    type Error = Malformed;

    /// Reads what is stored: the context was checked when it was written.
    fn try_from(texts: BTreeMap<String, String>) -> Result<Self, Malformed> {
        let parse = |(name, text): (String, String)| {
            if !allowed::is_name(&name) {
                return Err(Malformed::format("must be the name of a directive"));
            }
            Value::parse(text).map(|value| (name, value))
        };
        texts.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Directives> for BTreeMap<String, String> {
    fn from(directives: Directives) -> Self {
        directives.0.into_iter().map(|(name, value)| (name, value.text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, context: Context) -> Option<FieldCode> {
        let mut problems = Problems::default();
        let texts = BTreeMap::from([(name.to_owned(), text.to_owned())]);
        Directives::parse(texts, context, &Path::root().field("custom_directives"), &mut problems);
        let error = problems.finish(()).err()?;
        assert_eq!(error.fields()[0].field, format!("custom_directives.{name}"));
        Some(error.fields()[0].code)
    }

    #[test]
    fn what_reaches_outside_or_nests_is_refused_by_name() {
        for name in [
            "include",
            "load_module",
            "perl",
            "content_by_lua_block",
            "js_import",
            "ssl_engine",
            "env",
            "user",
            "pid",
            "worker_processes",
            "error_log",
            "access_log",
            "root",
            "alias",
            "proxy_store",
            "client_body_temp_path",
            "proxy_cache_path",
            "ssl_certificate",
            "auth_basic_user_file",
            "if",
            "location",
            "server",
            "upstream",
            "map",
            "types",
            "listen",
            "server_name",
            "proxy_pass",
            "return",
            "proxy_set_header",
            "add_header",
            "",
            "x y",
            "a;b",
            "Gzip",
        ] {
            for context in [Context::Http, Context::Server, Context::Location] {
                assert_eq!(check(name, "x", context), Some(FieldCode::Forbidden), "{name}");
            }
        }
    }

    #[test]
    fn zones_are_for_the_whole_nginx() {
        let zone = "$binary_remote_addr zone=one:1m rate=1r/s";
        assert_eq!(check("limit_req_zone", zone, Context::Http), None);
        assert_eq!(check("limit_req_zone", zone, Context::Server), Some(FieldCode::Forbidden));
        assert_eq!(check("limit_req", "zone=one", Context::Location), None);
    }

    #[test]
    fn text_that_is_no_list_of_tokens_is_refused() {
        for text in
            ["", " ", "a;b", "a {", "}", "\"a", "'a", "a\nb", "a\0", "a # b", "\"a\"b", "a\\"]
        {
            assert_eq!(
                check("gzip", text, Context::Http),
                Some(FieldCode::InvalidFormat),
                "{text:?}"
            );
        }
    }

    #[test]
    fn length_is_limited_at_its_edge() {
        let (long, too_long) = ("a".repeat(4093), "a".repeat(4094));
        let quotes = |count: usize| format!("'{}'", "\"".repeat(count));
        for (text, refused) in [
            (format!("{long} b"), None),
            (format!("{long} bb"), None),
            (format!("{long} bbb"), Some(FieldCode::OutOfRange)),
            (too_long, Some(FieldCode::OutOfRange)),
            (quotes(2046), None),
            (quotes(2047), Some(FieldCode::OutOfRange)),
        ] {
            assert_eq!(check("gzip", &text, Context::Http), refused, "{}", text.len());
        }
    }
}
