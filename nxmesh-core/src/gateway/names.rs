//! Names and addresses that nginx takes as they are.

use std::net::Ipv6Addr;

use crate::{
    Malformed,
    text::{MAX_LABEL_CHARS, check_label, text_type},
};

text_type! {
    /// What people call a virtual host or an upstream: 1 to 200 characters, not
    /// blank, no control characters.
    ObjectName, check_name
}

text_type! {
    /// Where a server is: `10.0.1.20:8080`, `[2001:db8::1]:8080`, `backend.internal:8080`.
    ServerAddress, check_address
}

text_type! {
    /// One name of a virtual host: exact, `*.` first, `.*` last, or `_` for what no
    /// other takes. Lower case, letters beyond ASCII in punycode.
    /// <https://nginx.org/en/docs/http/server_names.html>
    ServerName, check_server_name
}

fn check_address(text: &str) -> Result<(), Malformed> {
    let bad = || Malformed::format("must be HOST:PORT, with an IPv6 address in brackets");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let host_is_fine = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => is_host_name(host),
    };
    if is_port(port) && host_is_fine { Ok(()) } else { Err(bad()) }
}

fn check_server_name(name: &str) -> Result<(), Malformed> {
    if name == "_" {
        return Ok(());
    }
    if !name.is_ascii() {
        return Err(Malformed::format(format!("{name:?} must be written in punycode: xn--...")));
    }
    let bad = || {
        Malformed::format(format!(
            "{name:?} is no server name: example.com, *.example.com, www.example.*, or _"
        ))
    };
    let rest = name.strip_prefix("*.").or_else(|| name.strip_suffix(".*")).unwrap_or(name);
    let upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
    if upper || !is_host_name(rest) { Err(bad()) } else { Ok(()) }
}

/// 1 to 65535, in digits only.
pub(super) fn is_port(port: &str) -> bool {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Dot-separated labels of 1 to 63 letters, digits, inner `-`, and `_`, which
/// service discovery uses; 253 in all.
pub(super) fn is_host_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn check_name(text: &str) -> Result<(), Malformed> {
    check_label(text, MAX_LABEL_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["10.0.0.1:80", "[::1]:8080", "a:1", "back_end.internal:65535"] {
            assert!(ServerAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            ":80",
            "::1:80",
            "[x]:80",
            "unix:/run/x",
            "a b:80",
            "a:80;",
            "a$b:80",
            "ä:80",
        ] {
            assert!(ServerAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn server_names() {
        let label = "a".repeat(63);
        for good in [
            "_",
            "a",
            "example.com",
            "*.example.com",
            "www.example.*",
            "xn--bcher-kva.example",
            "1.2.3.4",
            &label,
        ] {
            assert!(ServerName::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "*",
            "*.*",
            "www.*.com",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a;b",
            "a b",
            "a\\",
            "~^a$",
            "A",
            "bücher.example",
            "a\"",
            &long,
        ] {
            assert!(ServerName::parse(bad).is_err(), "{bad}");
        }
    }
}
