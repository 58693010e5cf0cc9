//! One location of a virtual host.

use super::{
    syntax::{Directive, block, line},
    upstream,
};
use crate::gateway::{Header, Location, LocationTarget, RewriteFlag, RewriteRule};

/// What the server behind is told, unless a custom header says otherwise.
const REQUEST_HEADERS: &[(&str, &str)] = &[
    ("Host", "$host"),
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
    ("X-Forwarded-Host", "$host"),
    ("X-Forwarded-Proto", "$scheme"),
];

/// Renders a location; HTTP/3 is announced on this port, if on any.
///
/// Headers are inherited from the level above only where a level sets none, so
/// each location sets all of its own.
pub(super) fn render(location: &Location, http3_port: Option<u16>) -> Directive {
    let mut inside: Vec<_> = location.rewrite_rules.iter().map(rewrite).collect();
    let proxies = match &location.target {
        LocationTarget::Proxy(url) => {
            inside.push(line("proxy_pass", [url.as_str()]));
            if url.as_str().starts_with("https:")
                && !location.custom_directives.contains("proxy_ssl_server_name")
            {
                inside.push(line("proxy_ssl_server_name", ["on"]));
            }
            true
        }
        LocationTarget::Upstream(id) => {
            inside.push(line("proxy_pass", [format!("http://{}", upstream::name(*id))]));
            true
        }
        LocationTarget::Files { root, index } => {
            inside.push(line("root", [root.as_str()]));
            inside.extend(index.as_ref().map(|names| line("index", names.as_str().split(' '))));
            false
        }
    };
    let (to_server, to_client): (Vec<_>, Vec<_>) =
        location.custom_headers.iter().partition(|header| proxies && header.name.is_for_request());
    if proxies {
        inside.extend(proxy_headers(&to_server));
    }
    inside.extend(http3_port.map(|port| {
        line("add_header", ["Alt-Svc".to_owned(), format!("h3=\":{port}\"; ma=86400")])
    }));
    inside.extend(to_client.into_iter().map(|header| {
        let always = header.always.then_some("always");
        line("add_header", [header.name.as_str(), header.value.as_str()].into_iter().chain(always))
    }));
    inside.extend(location.custom_directives.iter().map(|(name, args)| line(name, args)));
    block("location", [location.path.as_str()], inside)
}

fn proxy_headers(custom: &[&Header]) -> Vec<Directive> {
    let overridden =
        |name: &str| custom.iter().any(|it| it.name.as_str().eq_ignore_ascii_case(name));
    let usual = REQUEST_HEADERS.iter().filter(|(name, _)| !overridden(name)).copied();
    let custom = custom.iter().map(|it| (it.name.as_str(), it.value.as_str()));
    // Connections to the servers behind are kept open, and upgraded for WebSocket.
    let connection = [("Upgrade", "$http_upgrade"), ("Connection", "$nxmesh_connection")];
    let headers = usual
        .chain(connection)
        .chain(custom)
        .map(|(name, value)| line("proxy_set_header", [name, value]));
    std::iter::once(line("proxy_http_version", ["1.1"])).chain(headers).collect()
}

fn rewrite(rule: &RewriteRule) -> Directive {
    let flag = match rule.flag {
        RewriteFlag::Last => "last",
        RewriteFlag::Break => "break",
        RewriteFlag::Redirect => "redirect",
        RewriteFlag::Permanent => "permanent",
    };
    line("rewrite", [rule.pattern.as_str(), rule.replacement.as_str(), flag])
}
