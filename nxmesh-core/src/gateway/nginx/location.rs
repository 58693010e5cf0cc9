//! One location of a virtual host.

use super::{
    Field,
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
    let rules = location.rewrite_rules.iter().enumerate();
    let rules = rules.map(|(at, it)| rewrite(it).said(Field::Item("rewrite_rules", at)));
    let mut inside: Vec<_> = rules.collect();
    let proxies = match &location.target {
        LocationTarget::Proxy(url) => {
            inside.push(line("proxy_pass", [url.as_str()]).said(Field::Named("proxy_pass")));
            if url.as_str().starts_with("https:")
                && !location.custom_directives.contains("proxy_ssl_server_name")
            {
                inside.push(line("proxy_ssl_server_name", ["on"]));
            }
            true
        }
        LocationTarget::Upstream(id) => {
            let pass = line("proxy_pass", [format!("http://{}", upstream::name(*id))]);
            inside.push(pass.said(Field::Named("upstream_id")));
            true
        }
        LocationTarget::Files { root, index } => {
            inside.push(line("root", [root.as_str()]).said(Field::Named("root")));
            let index = index.as_ref().map(|names| line("index", names.as_str().split(' ')));
            inside.extend(index.map(|it| it.said(Field::Named("index"))));
            false
        }
    };
    let headers = location.custom_headers.iter().enumerate();
    let (to_server, to_client): (Vec<_>, Vec<_>) =
        headers.partition(|(_, header)| proxies && header.name.is_for_request());
    if proxies {
        inside.extend(proxy_headers(&to_server));
    }
    inside.extend(http3_port.map(|port| {
        line("add_header", ["Alt-Svc".to_owned(), format!("h3=\":{port}\"; ma=86400")])
    }));
    inside.extend(to_client.into_iter().map(|(at, header)| {
        let always = header.always.then_some("always");
        line("add_header", [header.name.as_str(), header.value.as_str()].into_iter().chain(always))
            .said(Field::Item("custom_headers", at))
    }));
    let custom = location.custom_directives.iter().map(|(name, args)| line(name, args));
    inside.extend(custom.map(|it| it.said(Field::Directive("custom_directives"))));
    block("location", [location.path.as_str()], inside)
}

fn proxy_headers(custom: &[(usize, &Header)]) -> Vec<Directive> {
    let overridden =
        |name: &str| custom.iter().any(|(_, it)| it.name.as_str().eq_ignore_ascii_case(name));
    let set = |name: &str, value: &str| line("proxy_set_header", [name, value]);
    let usual = REQUEST_HEADERS.iter().filter(|(name, _)| !overridden(name));
    // Connections to the servers behind are kept open, and upgraded for WebSocket.
    let connection = [("Upgrade", "$http_upgrade"), ("Connection", "$nxmesh_connection")];
    let ours = usual.chain(&connection).map(|(name, value)| set(name, value));
    let custom = custom.iter().map(|(at, it)| {
        set(it.name.as_str(), it.value.as_str()).said(Field::Item("custom_headers", *at))
    });
    std::iter::once(line("proxy_http_version", ["1.1"])).chain(ours).chain(custom).collect()
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
