//! The renderer: what is written is what is meant, whatever the texts are.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use proptest::prelude::*;
use serde_json::json;

use super::{
    NginxFacts, Owner, Place, Rendered,
    parse::parse,
    render,
    syntax::{self, Directive, block, line},
};
use crate::{
    Id, Path, Problems, RevisionNumber,
    directive::{Context, Directives},
    from_json,
    gateway::{
        ConfigUpdate, Header, LocationTarget, NewLocation, NewUpstream, NewVirtualHost, Projection,
        RewriteFlag, RewriteRule, TargetAgents, UpstreamServer, VirtualHostSpec,
    },
};

fn facts(version: &str) -> NginxFacts {
    let printed = format!(
        "nginx version: nginx/{version}\nconfigure arguments: --with-http_v2_module --with-http_ssl_module"
    );
    NginxFacts::parse(&printed, false).unwrap()
}

fn place() -> Place {
    let path = |name: &str| PathBuf::from("/state").join(name);
    Place {
        status_socket: path("run/status.sock"),
        pid_file: path("run/nginx.pid"),
        error_log: path("logs/error.log"),
        failed_log: path("run/failed.log"),
        temp_dir: path("tmp"),
        user: None,
        worker_connections: 1024,
    }
}

fn update(projection: Projection) -> ConfigUpdate {
    ConfigUpdate {
        config_id: "7-abc".into(),
        version: RevisionNumber(7),
        checksum: "abc".into(),
        projection: Arc::new(projection),
        drift: Default::default(),
    }
}

fn rendered(spec: VirtualHostSpec, version: &str) -> Rendered {
    let hosts = BTreeMap::from([(Id::from_uuid(uuid::Uuid::from_u128(1)), Arc::new(spec))]);
    render(
        &update(Projection { virtual_hosts: hosts, ..Projection::default() }),
        &facts(version),
        &place(),
    )
}

/// The one server block of the one virtual host, as nginx would read it.
fn server_of(rendered: &Rendered) -> Vec<Directive> {
    let text =
        rendered.files.iter().find(|(path, _)| path.starts_with("virtual-hosts/")).unwrap().1;
    let mut read = parse(text).unwrap();
    assert_eq!(read.len(), 1, "{text}");
    let server = read.remove(0);
    assert_eq!((server.name.as_str(), server.args.len()), ("server", 0));
    server.block.unwrap()
}

fn host(location: NewLocation) -> NewVirtualHost {
    NewVirtualHost {
        name: "a".into(),
        server_name: "a.example".into(),
        listen_port: 80,
        locations: vec![location],
        ..NewVirtualHost::default()
    }
}

/// Texts that try to get out of where they stand.
fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        ";",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "#",
        "$",
        "${",
        "\n",
        "\r",
        "\t",
        "\0",
        " ",
        "/",
        "a",
        "return 200",
        "ü",
        "\u{2028}",
        "*",
        "~",
        "=",
        "^",
        "(",
        ")",
        "[",
        "]",
        "|",
        "include /etc/passwd;",
        "$host",
        "$1",
        "%0a",
        "\\n",
        ".",
        "+",
        "?",
        "1",
        "@",
        ":",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![nasty(), ".{0,24}", nasty().prop_map(|text| format!("/{text}"))]
}

fn directive() -> impl Strategy<Value = Directive> {
    let leaf = ("[a-z_]{1,8}", prop::collection::vec("[^\\x00-\\x1f\\x7f]{0,12}", 0..4))
        .prop_map(|(name, args)| line(name, args));
    leaf.prop_recursive(3, 24, 4, |inner| {
        let args = prop::collection::vec("[^\\x00-\\x1f\\x7f]{0,12}", 0..3);
        ("[a-z_]{1,8}", args, prop::collection::vec(inner, 0..4))
            .prop_map(|(name, args, inside)| block(name, args, inside))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_written_reads_back(directives in prop::collection::vec(directive(), 0..5)) {
        let text = syntax::write(&directives);
        prop_assert_eq!(parse(&text).unwrap(), directives, "{}", text);
    }

    #[test]
    fn a_location_is_refused_or_rendered_as_meant(
        path in any_text(), name in any_text(), value in any_text(), pattern in any_text(),
        replacement in any_text(), root in any_text(),
    ) {
        let headers = vec![Header { name, value, always: true }];
        let rules = vec![RewriteRule { pattern, replacement, flag: RewriteFlag::Break }];
        // Each text alone, so that one that is refused does not hide the others.
        let plain = || NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
        let variants = [
            NewLocation { path: path.clone(), ..plain() },
            NewLocation { root: Some(root.clone()), ..plain() },
            NewLocation { custom_headers: headers.clone(), ..plain() },
            NewLocation { rewrite_rules: rules.clone(), ..plain() },
            NewLocation { path, root: Some(root), custom_headers: headers, rewrite_rules: rules, ..plain() },
        ];
        for new in variants {
            let Ok((spec, _)) = host(new.clone()).parse() else { continue };
            let server = server_of(&rendered(spec, "1.22.1"));
            let mut inside: Vec<_> = new.rewrite_rules.iter()
                .map(|it| line("rewrite", [it.pattern.as_str(), it.replacement.as_str(), "break"])).collect();
            inside.push(line("root", new.root.as_deref()));
            inside.extend(new.custom_headers.iter().map(|it| line("add_header", [it.name.as_str(), it.value.as_str(), "always"])));
            let expected = vec![
                line("listen", ["80"]),
                line("server_name", ["a.example"]),
                block("location", [new.path.as_str()], inside),
            ];
            prop_assert_eq!(server, expected);
        }
    }

    #[test]
    fn names_and_addresses_are_refused_or_rendered_as_meant(name in any_text(), server_name in any_text(), url in any_text()) {
        let url = format!("http://{url}");
        let location = NewLocation { path: "/".into(), proxy_pass: Some(url), ..NewLocation::default() };
        let plain = || NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
        for new in [
            NewVirtualHost { name, ..host(plain()) },
            NewVirtualHost { server_name, ..host(plain()) },
            host(location),
        ] {
            let Ok((spec, _)) = new.clone().parse() else { continue };
            let names: Vec<_> = new.server_name.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
            let server = server_of(&rendered(spec, "1.22.1"));
            prop_assert_eq!(&server[1], &line("server_name", names));
            prop_assert_eq!(server.len(), 3);
            let inside = server[2].block.clone().unwrap();
            match &new.locations[0].proxy_pass {
                Some(url) => prop_assert_eq!(&inside[0], &line("proxy_pass", [url.as_str()])),
                None => prop_assert_eq!(inside, vec![line("root", ["/srv"])]),
            }
        }
    }

    #[test]
    fn a_custom_directive_is_refused_or_stays_one(name in prop_oneof![Just("gzip_types".to_owned()), nasty()], text in any_text()) {
        let mut problems = Problems::default();
        let texts = BTreeMap::from([(name.clone(), text)]);
        let taken = Directives::parse(texts, Context::Location, &Path::root(), &mut problems);
        if problems.is_empty() {
            let lines: Vec<_> = taken.iter().map(|(name, args)| line(name, args)).collect();
            let read = parse(&syntax::write(&lines)).unwrap();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(&read, &lines);
            prop_assert_eq!(&read[0].name, &name);
        }
    }

    #[test]
    fn an_address_is_refused_or_rendered_as_meant(address in prop_oneof![any_text(), any_text().prop_map(|it| format!("{it}:80"))]) {
        let new = NewUpstream {
            name: "a".into(),
            algorithm: Default::default(),
            servers: vec![UpstreamServer::at(address.clone())],
            health_check: None,
            keepalive_connections: 0,
        };
        if let Ok(spec) = new.parse() {
            let upstreams = BTreeMap::from([(Id::from_uuid(uuid::Uuid::from_u128(1)), Arc::new(spec))]);
            let rendered = render(&update(Projection { upstreams, ..Projection::default() }), &facts("1.22.1"), &place());
            let text = rendered.files.iter().find(|(path, _)| path.starts_with("upstreams/")).unwrap().1;
            let read = parse(text).unwrap();
            let expected = line("server", [address.as_str(), "max_fails=1", "fail_timeout=10s"]);
            prop_assert_eq!(&read[0].block, &Some(vec![expected]));
        }
    }
}

/// A bit of everything.
pub(super) fn sample(tls: Option<Id<crate::gateway::Certificate>>) -> Projection {
    let upstream: NewUpstream = from_json(json!({
        "name": "api", "algorithm": "least_connections", "keepalive_connections": 32,
        "servers": [{"address": "127.0.0.1:8081", "weight": 3}, {"address": "[::1]:8082", "backup": true, "max_fails": 0}],
    }))
    .unwrap();
    let api: NewVirtualHost = from_json(json!({
        "name": "API {;}", "server_name": "api.example.com *.api.example.com", "listen_port": 8443,
        "ssl_enabled": tls.is_some(), "ssl_certificate_id": tls, "http2_enabled": true, "http3_enabled": tls.is_some(),
        "custom_directives": {"client_max_body_size": "10m"},
        "locations": [
            {"path": "/api/v1", "upstream_id": Id::<crate::gateway::Upstream>::from_uuid(uuid::Uuid::from_u128(2)),
             "custom_headers": [{"name": "X-Forwarded-Proto", "value": "https"}, {"name": "X-Frame-Options", "value": "DENY", "always": true}],
             "rewrite_rules": [{"pattern": "^/api/v1/(.*)\\.php{1}$", "replacement": "/api/$1", "flag": "break"}]},
            {"path": "/health check", "proxy_pass": "http://localhost:8080/health"},
        ],
    }))
    .unwrap();
    let files: NewVirtualHost = from_json(json!({
        "name": "files", "server_name": "_", "listen_port": 8080,
        "locations": [{"path": "/", "root": "/srv/www", "index": "index.html index.htm", "custom_directives": {"expires": "1h", "gzip_types": "text/css 'a b'"}}],
    }))
    .unwrap();
    let plain: NewVirtualHost = from_json(json!({
        "name": "plain", "server_name": "www.example.*", "listen_port": 8088,
        "locations": [{"path": "/", "proxy_pass": "https://127.0.0.1:9443"}],
    }))
    .unwrap();
    let id = |number| Id::from_uuid(uuid::Uuid::from_u128(number));
    let hosts = [(3, api), (4, files), (5, plain)];
    let settings = from_json(json!({
        "nginx_directives": {"limit_req_zone": "$binary_remote_addr zone=perip:1m rate=100r/s", "server_tokens": "on"},
        "env_vars": {"GREETING": "hello \"world\"; $x"},
    }))
    .unwrap();
    Projection {
        virtual_hosts: hosts
            .into_iter()
            .map(|(number, it)| (id(number), Arc::new(it.parse().unwrap().0)))
            .collect(),
        upstreams: BTreeMap::from([(
            Id::from_uuid(uuid::Uuid::from_u128(2)),
            Arc::new(upstream.parse().unwrap()),
        )]),
        certificates: BTreeMap::new(),
        settings: Arc::new(settings),
    }
}

fn as_text(rendered: &Rendered) -> String {
    rendered.files.iter().map(|(path, text)| format!("==> {path}\n{text}\n")).collect()
}

#[test]
fn each_version_gets_its_own_syntax() {
    let certificate = Id::from_uuid(uuid::Uuid::from_u128(9));
    for version in ["1.22.1", "1.31.3"] {
        let rendered = render(&update(sample(Some(certificate))), &facts(version), &place());
        insta::assert_snapshot!(format!("nginx-{version}"), as_text(&rendered));
    }
}

#[test]
fn http3_is_rendered_where_nginx_has_it() {
    let certificate = Id::from_uuid(uuid::Uuid::from_u128(9));
    let mut facts = facts("1.31.3");
    facts.build.insert("http_v3_module".into());
    let rendered = render(&update(sample(Some(certificate))), &facts, &place());
    let host =
        rendered.files.iter().find(|(path, _)| path.ends_with("000000000003.conf")).unwrap().1;
    assert!(host.contains("listen 8443 quic reuseport;"), "{host}");
    assert!(host.contains("add_header Alt-Svc \"h3=\\\":8443\\\"; ma=86400\";"), "{host}");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let once = render(&update(sample(None)), &facts("1.22.1"), &place());
    let twice = render(&update(sample(None)), &facts("1.22.1"), &place());
    assert_eq!(once.files, twice.files);
}

#[test]
fn each_file_names_its_owner() {
    let rendered = render(&update(sample(None)), &facts("1.22.1"), &place());
    for path in rendered.files.keys() {
        match Rendered::owner_of(&format!("/state/gen/7/{path}")) {
            Owner::VirtualHost(id) => assert_eq!(*path, format!("virtual-hosts/{id}.conf")),
            Owner::Upstream(id) => assert_eq!(*path, format!("upstreams/{id}.conf")),
            Owner::Certificate(_) => assert!(path.starts_with("certificates/")),
            Owner::Port(port) => assert_eq!(*path, format!("ports/{port}.conf")),
            Owner::Settings => assert_eq!(path, "nginx.conf"),
        }
    }
}

#[test]
fn what_is_stored_reads_back() {
    for spec in sample(None).virtual_hosts.values() {
        let body = serde_json::to_value(spec.as_ref()).unwrap();
        let read: VirtualHostSpec = serde_json::from_value(body).unwrap();
        assert_eq!(&read, spec.as_ref());
        let again = NewVirtualHost::from_parts(read.clone(), TargetAgents::All).parse().unwrap().0;
        assert_eq!(again, read);
        assert!(read.locations.iter().all(|it| !matches!(&it.target, LocationTarget::Files { root, .. } if root.as_str().is_empty())));
    }
}
