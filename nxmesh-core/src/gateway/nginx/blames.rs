//! What real ones complain of is brought home to object and field.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde_json::{Value, json};

use super::{Blame, Blamed, NginxFacts, NginxVersion, Place, accepts, blame};
use crate::{
    Id, RevisionNumber, Secret, from_json,
    gateway::{Certificate, ConfigUpdate, NewUpstream, NewVirtualHost, Projection},
};

const SHOP: u128 = 1;
const BLOG: u128 = 2;
const API: u128 = 3;
const CERTIFICATE: u128 = 9;

fn id<T>(number: u128) -> Id<T> {
    Id::from_uuid(uuid::Uuid::from_u128(number))
}

fn host(name: &str, more: &Value) -> NewVirtualHost {
    let mut body = json!({
        "name": name, "server_name": format!("{name}.example"), "listen_port": 8080,
        "locations": [{"path": "/", "root": "/srv"}],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    from_json(body).unwrap()
}

fn projection(shop: &Value, servers: &Value, settings: Value) -> Projection {
    let hosts = [(SHOP, host("shop", shop)), (BLOG, host("blog", &json!({})))];
    let upstream: NewUpstream = from_json(json!({"name": "api", "servers": servers})).unwrap();
    let hosts = hosts.map(|(number, it)| (id(number), Arc::new(it.parse().unwrap().0)));
    Projection {
        virtual_hosts: hosts.into(),
        upstreams: [(id(API), Arc::new(upstream.parse().unwrap()))].into(),
        certificates: BTreeMap::new(),
        settings: Arc::new(from_json(settings).unwrap()),
    }
}

fn shop(more: &Value) -> Projection {
    projection(more, &json!([{"address": "127.0.0.1:1"}]), json!({}))
}

fn blamed(projection: Projection, facts: &NginxFacts, complaint: &str) -> Vec<Blame> {
    let path = PathBuf::new;
    let place = Place {
        failed_log: "failed.log".into(),
        status_socket: path(),
        pid_file: path(),
        error_log: path(),
        temp_dir: path(),
        user: None,
        worker_connections: 1,
    };
    let update = ConfigUpdate {
        drift: Default::default(),
        config_id: String::new(),
        version: RevisionNumber(1),
        checksum: String::new(),
        projection: Arc::new(projection),
    };
    blame(&update, facts, &place, complaint)
}

/// Has each nginx refuse this, and looks whom it blames for it.
fn check(projection: &Projection, expected: &str) {
    for program in accepts::programs() {
        let (taken, printed) = accepts::test(&program, projection.clone());
        assert!(!taken, "{}: {expected}", program.display());
        let complaint = printed.lines().find_map(|it| Some(it.split_once("[emerg] ")?.1));
        let complaint = complaint.unwrap_or_else(|| panic!("{printed}"));
        // Where it goes to a log, it says who said it.
        let complaint = match complaint.split_once("#").and_then(|(_, it)| it.split_once(": ")) {
            Some((_, complaint)) => complaint,
            None => complaint,
        };
        let found = blamed(projection.clone(), &accepts::facts(&program), complaint);
        let [found] = &found[..] else { panic!("{complaint}: {found:?}") };
        let found = found.to_string();
        assert!(found.starts_with(expected), "{}: {complaint}: {found}", program.display());
        for file in [".conf", "/tmp", ".crt", ".key"] {
            assert!(!found.contains(file), "{found}");
        }
    }
}

#[test]
fn a_field_of_a_virtual_host() {
    let shop_says = |field: &str| format!("virtual host shop ({}): {field}: ", id::<()>(SHOP));
    let location = |more: Value| {
        let mut second = json!({"path": "/b", "root": "/srv"});
        second.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        shop(&json!({"locations": [{"path": "/", "root": "/srv"}, second]}))
    };
    let directive = |name: &str, text: &str| location(json!({"custom_directives": {name: text}}));
    for (refused, field) in [
        (
            directive("expires", "nonsense"),
            "locations[1].custom_directives.expires: \"expires\" directive invalid value",
        ),
        (
            directive("limit_rate", "$nowhere"),
            "locations[1].custom_directives.limit_rate: unknown \"nowhere\" variable",
        ),
        (directive("limit_req", "zone=none burst=2"), "locations[1].custom_directives.limit_req"),
        (directive("limit_conn", "none 2"), "locations[1].custom_directives.limit_conn"),
        (
            shop(&json!({"custom_directives": {"client_max_body_size": "big"}})),
            "custom_directives.client_max_body_size",
        ),
        (
            shop(&json!({"locations": [{"path": "/", "proxy_pass": "http://nowhere.invalid/"}]})),
            "locations[0].proxy_pass: host not found in upstream",
        ),
    ] {
        check(&refused, shop_says(field).trim_end_matches(": "));
    }
}

#[test]
fn a_certificate_that_cannot_be_read() {
    let tls = json!({"ssl_enabled": true, "listen_port": 8443, "ssl_certificate_id": id::<Certificate>(CERTIFICATE)});
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (one, other) = (made("a.example"), made("b.example"));
    for (certificate_pem, key) in [
        ("no certificate".to_owned(), one.signing_key.serialize_pem()),
        (one.cert.pem(), "no key".to_owned()),
        (one.cert.pem(), other.signing_key.serialize_pem()),
    ] {
        let certificate = Certificate {
            domain: "a.example".into(),
            certificate_pem,
            private_key_pem: Secret::new(key),
            expires_at: i64::MAX,
        };
        let certificates = [(id(CERTIFICATE), Arc::new(certificate))].into();
        let expected = format!("virtual host shop ({}): ssl_certificate_id: ", id::<()>(SHOP));
        check(&Projection { certificates, ..shop(&tls) }, &expected);
    }
}

#[test]
fn a_server_of_an_upstream() {
    let servers = json!([{"address": "127.0.0.1:1"}, {"address": "nowhere.invalid:80"}]);
    let expected = format!("upstream api ({}): servers[1]: host not found", id::<()>(API));
    check(&projection(&json!({}), &servers, json!({})), &expected);
}

#[test]
fn a_directive_of_the_settings() {
    let settings = json!({"nginx_directives": {"gzip": "maybe"}, "env_vars": {"A": "b"}});
    let refused = projection(&json!({}), &json!([{"address": "127.0.0.1:1"}]), settings);
    check(&refused, "the settings of the workspace: settings.nginx_directives.gzip: invalid value");
}

#[test]
fn what_the_load_refuses_names_all_that_share_it() {
    let facts = NginxFacts { version: NginxVersion(1, 22, 1), build: [].into(), ipv6: true };
    let elsewhere = shop(&json!({"listen_port": 8081}));
    for (address, hosts) in
        [("0.0.0.0:8080", vec![BLOG]), ("[::]:8081", vec![SHOP]), ("0.0.0.0:1", vec![])]
    {
        let complaint = format!("bind() to {address} failed (98: Address already in use)");
        let found = blamed(elsewhere.clone(), &facts, &complaint);
        let expected: Vec<_> = hosts.into_iter().map(|it| Blamed::VirtualHost(id(it))).collect();
        assert_eq!(found.iter().map(|it| it.object).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|it| it.field == "listen_port" && it.said == complaint));
    }
    let shared =
        blamed(shop(&json!({})), &facts, "bind() to 0.0.0.0:8080 failed (13: Permission denied)");
    assert_eq!(shared.len(), 2);
    let zone = "limit_req \"a\" uses the \"$host\" key while previously it used the \"$uri\" key";
    assert_eq!(blamed(shop(&json!({})), &facts, zone)[0].object, Blamed::Settings);
    assert!(blamed(shop(&json!({})), &facts, "still could not bind()").is_empty());
    assert!(blamed(shop(&json!({})), &facts, "whatever \"a\" in b:7").is_empty());
}
