//! Parameters of a URL, read as JavaScript would.

use std::collections::HashMap;

use axum::extract::Query;
use http::Uri;

/// The parameters; of those of one name the first.
pub(super) struct Parameters(HashMap<String, String>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let mut found = HashMap::new();
        for (name, value) in pairs.map(|it| it.0).unwrap_or_default() {
            found.entry(name).or_insert(value);
        }
        Self(found)
    }

    /// A text; `None` if it is not there.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number as `parseInt` reads it; `None` if it is not there.
    pub(super) fn number(&self, name: &str) -> Option<Number> {
        self.get(name).filter(|it| !it.is_empty()).map(parse_int)
    }
}

/// What `parseInt` makes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// This, or the nearest there is.
    Is(i64),
    /// No number at all.
    NaN,
}

/// The digits at the beginning, after white space and a sign.
fn parse_int(text: &str) -> Number {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|it: char| !it.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return Number::NaN;
    }
    let value = digits[..end].parse::<i64>().unwrap_or(i64::MAX);
    Number::Is(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_javascript() {
        for (text, number) in [
            ("7", Number::Is(7)),
            (" -1x", Number::Is(-1)),
            ("+3.9", Number::Is(3)),
            ("abc", Number::NaN),
            ("-", Number::NaN),
            ("99999999999999999999", Number::Is(i64::MAX)),
        ] {
            assert_eq!(parse_int(text), number, "{text:?}");
        }
    }

    #[test]
    fn a_plus_is_a_space_and_the_first_of_a_name_counts() {
        let uri = Uri::from_static("/topics?startsWith=a+b%2Bc&startsWith=d&limit=");
        let parameters = Parameters::of(&uri);
        assert_eq!(parameters.get("startsWith"), Some("a b+c"));
        assert_eq!(parameters.number("limit"), None);
    }
}
