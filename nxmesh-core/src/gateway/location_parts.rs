//! The texts that make up a location, each valid by construction.

use regex_syntax::ast::ErrorKind as RegexError;

use crate::{
    Malformed,
    gateway::names::{is_host_name, is_port},
    text::{check_token, text_type},
};

/// The longest text of a field here, in bytes: nginx refuses a token of 4096.
pub const MAX_TEXT_BYTES: usize = 2048;
/// The longest name of a header, in bytes.
pub const MAX_HEADER_NAME_BYTES: usize = 256;

text_type! {
    /// The beginning of request paths: from `/`, no control characters, no `$`.
    LocationPath, check_path
}

text_type! {
    /// `http://` or `https://`, a host, maybe a port, maybe a path; no variables.
    /// <https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_pass>
    ProxyUrl, check_url
}

text_type! {
    /// An absolute folder without `..`.
    Root, check_root
}

text_type! {
    /// Names of files, separated by spaces.
    IndexFiles, check_index
}

text_type! {
    /// A token by RFC 9110 5.6.2; not one by which connections are managed.
    HeaderName, check_header_name
}

text_type! {
    /// No control characters; `$` only before the name of a variable that a client
    /// cannot fill with line breaks.
    HeaderValue, check_header_value
}

text_type! {
    /// A regular expression. Look-around and back-references, which nginx has and
    /// this check does not know, are taken unseen.
    Pattern, check_pattern
}

text_type! {
    /// A path or an absolute URL; `$` only before a group or a variable.
    Replacement, check_replacement
}

impl HeaderName {
    /// Whether it is about the request that is passed on, rather than the answer.
    #[must_use]
    pub fn is_for_request(&self) -> bool {
        let name = self.as_str().to_ascii_lowercase();
        name.starts_with("x-forwarded-") || REQUEST_HEADERS.contains(&name.as_str())
    }
}

const REQUEST_HEADERS: &[&str] =
    &["host", "forwarded", "x-real-ip", "x-request-id", "authorization"];
const CONNECTION_HEADERS: &[&str] = &[
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
];

#[rustfmt::skip]
pub(crate) const VARIABLES: &[&str] = &[
    "args", "binary_remote_addr", "body_bytes_sent", "bytes_sent", "connection", "connection_requests",
    "content_length", "content_type", "host", "hostname", "https", "is_args", "msec", "nginx_version", "pid",
    "proxy_add_x_forwarded_for", "proxy_host", "proxy_port", "query_string", "remote_addr", "remote_port",
    "remote_user", "request_completion", "request_id", "request_length", "request_method", "request_time",
    "request_uri", "scheme", "server_addr", "server_name", "server_port", "server_protocol", "status",
    "time_iso8601", "time_local",
];
pub(crate) const VARIABLE_PREFIXES: &[&str] =
    &["arg_", "cookie_", "http_", "sent_http_", "ssl_", "upstream_"];
/// These are decoded: `%0a` in a request is a line break in them.
pub(crate) const DECODED: &[&str] = &["uri", "document_uri"];

fn check_path(path: &str) -> Result<(), Malformed> {
    check_plain(path)?;
    if !path.starts_with('/') {
        return Err(Malformed::format("must begin with /"));
    }
    // A location is a prefix of a decoded path, so all else is taken as it is.
    if path.contains('$') {
        return Err(Malformed::format("must not contain $"));
    }
    Ok(())
}

fn check_url(url: &str) -> Result<(), Malformed> {
    check_plain(url)?;
    let bad = || Malformed::format("must be http://HOST[:PORT][/PATH] or https://..");
    if url.contains(['$', ' ', '"', '\'', '\\', ';', '{', '}', '#']) {
        return Err(Malformed::format(
            "must not contain spaces, quotes, variables or any of ; { } # \\",
        ));
    }
    let rest =
        url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or_else(bad)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, rest) = match authority.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((v6, rest)) => (v6.parse::<std::net::Ipv6Addr>().is_ok(), rest),
        None => {
            let (name, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (is_host_name(name), rest)
        }
    };
    let port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    if host && port { Ok(()) } else { Err(bad()) }
}

fn check_root(root: &str) -> Result<(), Malformed> {
    check_plain(root)?;
    if !root.starts_with('/') || root.split('/').any(|part| part == "..") || root.contains('$') {
        return Err(Malformed::format("must be an absolute folder, without .. and variables"));
    }
    Ok(())
}

fn check_index(names: &str) -> Result<(), Malformed> {
    check_plain(names)?;
    let plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    if names.split(' ').any(|name| name.is_empty() || name == ".." || !plain(name)) {
        return Err(Malformed::format("must be names of files, separated by single spaces"));
    }
    Ok(())
}

fn check_header_name(name: &str) -> Result<(), Malformed> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    // nginx would take $ for a variable, so of the token characters it is left out.
    let short = (1..=MAX_HEADER_NAME_BYTES).contains(&name.len());
    if !short || !name.bytes().all(token) || name.contains('$') {
        return Err(Malformed::format(format!(
            "must be a header name: 1 to {MAX_HEADER_NAME_BYTES} letters, digits and any of !#%&'*+-.^_`|~"
        )));
    }
    if CONNECTION_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(Malformed::forbidden("is managed by nginx itself"));
    }
    Ok(())
}

fn check_header_value(value: &str) -> Result<(), Malformed> {
    check_plain(value)?;
    for name in variables(value)? {
        let known = VARIABLES.contains(&name)
            || VARIABLE_PREFIXES.iter().any(|it| name.starts_with(it) && name != *it);
        if DECODED.contains(&name) {
            return Err(Malformed::forbidden(format!(
                "${name} may contain line breaks: use $request_uri"
            )));
        }
        if !known {
            return Err(Malformed::format(format!(
                "${name} is not a variable that may be used here"
            )));
        }
    }
    Ok(())
}

fn check_pattern(pattern: &str) -> Result<(), Malformed> {
    check_plain(pattern)?;
    let Err(error) = regex_syntax::ast::parse::Parser::new().parse(pattern) else { return Ok(()) };
    let unknown_here = [RegexError::UnsupportedLookAround, RegexError::UnsupportedBackreference];
    if unknown_here.contains(error.kind()) {
        return Ok(());
    }
    Err(Malformed::format(format!("must be a regular expression: {}", error.kind())))
}

fn check_replacement(text: &str) -> Result<(), Malformed> {
    check_plain(text)?;
    let absolute = ["/", "http://", "https://", "$scheme://"].iter().any(|it| text.starts_with(it));
    if !absolute {
        return Err(Malformed::format("must begin with / or http:// or https:// or $scheme://"));
    }
    for name in variables(text)? {
        let group =
            name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_digit() && byte != b'0');
        let known = VARIABLES.contains(&name)
            || VARIABLE_PREFIXES.iter().any(|it| name.starts_with(it) && name != *it);
        if !group && !known && !DECODED.contains(&name) {
            return Err(Malformed::format(format!(
                "${name} is neither a group ($1 to $9) nor a variable that may be used here"
            )));
        }
    }
    Ok(())
}

/// What nginx takes in any token: not empty, not too long, no control characters.
fn check_plain(text: &str) -> Result<(), Malformed> {
    if !(1..=MAX_TEXT_BYTES).contains(&text.len()) {
        return Err(Malformed::range(format!("must have 1 to {MAX_TEXT_BYTES} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Malformed::format("must not contain control characters"));
    }
    check_token(text)
}

/// The names after each `$`, bare or in braces.
fn variables(text: &str) -> Result<Vec<&str>, Malformed> {
    let bad = || {
        Malformed::format(
            "$ must stand before the name of a variable: there is no way to write it as itself",
        )
    };
    let name_end = |text: &str| {
        text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
    };
    let mut names = Vec::new();
    for rest in text.split('$').skip(1) {
        let name = match rest.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map(|(name, _)| name).ok_or_else(bad)?,
            // nginx ends a group at its one digit.
            None if rest.starts_with(|c: char| c.is_ascii_digit()) => &rest[..1],
            None => &rest[..name_end(rest)],
        };
        if name.is_empty() || name_end(name) < name.len() {
            return Err(bad());
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_refused_or_taken() {
        type Check = fn(&str) -> Result<(), Malformed>;
        let long = format!("/{}", "a".repeat(2047));
        let longer = format!("/{}", "a".repeat(2048));
        let quotes = "\"".repeat(2046);
        let more_quotes = "\\".repeat(2047);
        let cases: &[(&str, Check, &[&str], &[&str])] = &[
            (
                "path",
                check_path,
                &["/", "/a b", "/~x", "/{;}\"", &long],
                &["", "x", "= /", "~ ^/x", "@x", "/$x", "/\n", "/\0", &longer],
            ),
            (
                "proxy_pass",
                check_url,
                &[
                    "http://a",
                    "https://a:8443/b?c=d",
                    "http://[::1]:80/",
                    "http://localhost:8080/health",
                ],
                &[
                    "a",
                    "ftp://a",
                    "http://",
                    "http://a b",
                    "http://$host",
                    "http://a:0",
                    "http://a:x",
                    "http://a;b",
                    "http://[x]",
                    "http://unix:/x",
                ],
            ),
            (
                "root",
                check_root,
                &["/", "/srv/www", "/srv/..a"],
                &["srv", "/srv/../etc", "/$x", "/a\n"],
            ),
            (
                "index",
                check_index,
                &["index.html", "a b"],
                &["", "a  b", "..", "a;b", "/etc/passwd", "$x"],
            ),
            (
                "name",
                check_header_name,
                &["X-A", "a"],
                &["", "a b", "a:b", "a\n", "ä", "$x", "Connection", "content-length"],
            ),
            (
                "value",
                check_header_value,
                &["$scheme", "a ${http_x}b", "max-age=1; x", "\"q\"", &quotes],
                &[
                    "",
                    &more_quotes,
                    "a\r\nb",
                    "$",
                    "$$",
                    "a$",
                    "${x",
                    "$nope",
                    "$uri",
                    "$1",
                    "$ x",
                    "${a b}",
                ],
            ),
            (
                "pattern",
                check_pattern,
                &["^/a/(.*)$", "[;{}]", "(?=a)", "(a)\\1", "(?<n>x)"],
                &["", "(", "a)", "[", "*", "a{2,1}", "\n"],
            ),
            (
                "replacement",
                check_replacement,
                &["/b/$1", "https://x/$uri", "$scheme://$host/", "/?a=$arg_b"],
                &["", "x", "/$nope", "/$", "/\n"],
            ),
        ];
        for (field, check, good, bad) in cases {
            for text in *good {
                assert_eq!(check(text), Ok(()), "{field} {text:?}");
            }
            for text in *bad {
                assert!(check(text).is_err(), "{field} {text:?}");
            }
        }
    }
}
