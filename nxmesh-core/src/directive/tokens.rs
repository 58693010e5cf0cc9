//! The tokens of a directive's text, as nginx reads them.

use crate::Malformed;

/// Splits the text between a directive's name and its `;`.
///
/// White space separates; single or double quotes keep together; in quotes a
/// backslash protects the next character. What would end the directive, open a
/// block or begin a comment is refused unless it is quoted.
pub(super) fn split(text: &str) -> Result<Vec<String>, Malformed> {
    if text.chars().any(|c| c.is_control()) {
        return Err(Malformed::format("must not contain control characters"));
    }
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(' ');
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '"' | '\'' => quoted(&rest[1..], first)?,
            _ => bare(rest)?,
        };
        tokens.push(token);
        rest = after.trim_start_matches(' ');
    }
    if tokens.is_empty() {
        return Err(Malformed::format("must not be empty"));
    }
    Ok(tokens)
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), Malformed> {
    let mut token = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let after = &text[at + 1..];
            if !after.is_empty() && !after.starts_with(' ') {
                return Err(Malformed::format("a quoted part must be followed by a space"));
            }
            return Ok((token, after));
        }
        if c != '\\' {
            token.push(c);
            continue;
        }
        match chars.next() {
            Some((_, c @ ('"' | '\'' | '\\'))) => token.push(c),
            Some((_, c)) => token.extend(['\\', c]),
            None => break,
        }
    }
    Err(Malformed::format(format!("a quote ({quote}) is not closed")))
}

fn bare(text: &str) -> Result<(String, &str), Malformed> {
    let end = text.find(' ').unwrap_or(text.len());
    let (token, after) = text.split_at(end);
    if let Some(bad) =
        token.chars().find(|c| matches!(c, ';' | '{' | '}' | '"' | '\'' | '\\' | '#'))
    {
        return Err(Malformed::format(format!("{bad} must stand in quotes")));
    }
    Ok((token.to_owned(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_nginx_does() {
        for (text, tokens) in [
            ("on", vec!["on"]),
            ("  10  r ", vec!["10", "r"]),
            (r#""a b" c"#, vec!["a b", "c"]),
            (r#"'{;}#' "\"\\""#, vec!["{;}#", "\"\\"]),
            (r#""a\nb""#, vec!["a\\nb"]),
            (r#""""#, vec![""]),
            ("$host zone=a:1m", vec!["$host", "zone=a:1m"]),
        ] {
            assert_eq!(split(text).unwrap(), tokens, "{text}");
        }
    }
}
