//! What is rendered is taken by real ones, without a warning.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use super::{NginxFacts, Place, Rendered, render, tests::sample};
use crate::{
    Id, RevisionNumber, Secret, from_json,
    gateway::{Certificate, ConfigUpdate, NewVirtualHost, Projection},
};

/// The nginx of the distribution, and a current one.
#[expect(
    clippy::disallowed_methods,
    reason = "which program to test with is said in the environment"
)]
pub(super) fn programs() -> [PathBuf; 2] {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nginx-current");
    let find = |variable: &str, usual: PathBuf| {
        let path = env::var(variable).map_or(usual, PathBuf::from);
        assert!(
            path.is_file(),
            "{} is missing: ./scripts/test installs it, or {variable} names another",
            path.display()
        );
        path
    };
    [find("NXMESH_TEST_NGINX", "/usr/sbin/nginx".into()), find("NXMESH_TEST_NGINX_CURRENT", tools)]
}

fn write(folder: &Path, rendered: &Rendered) {
    let secrets = rendered.secrets.iter().map(|(path, text)| (path, text.expose()));
    for (path, text) in rendered.files.iter().chain(secrets) {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

pub(super) fn facts(program: &Path) -> NginxFacts {
    let printed = Command::new(program).arg("-V").output().unwrap().stderr;
    NginxFacts::parse(&String::from_utf8(printed).unwrap(), true).unwrap()
}

/// Whether nginx takes it, and all that it prints.
pub(super) fn test(program: &Path, projection: Projection) -> (bool, String) {
    let facts = facts(program);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let place = Place {
        status_socket: path("status.sock"),
        pid_file: path("nginx.pid"),
        error_log: path("error.log"),
        failed_log: path("failed.log"),
        temp_dir: path("tmp"),
        user: None,
        worker_connections: 1024,
    };
    fs::create_dir(path("tmp")).unwrap();
    let update = ConfigUpdate {
        config_id: "1".into(),
        version: RevisionNumber(1),
        checksum: "abc".into(),
        projection: Arc::new(projection),
        drift: Default::default(),
    };
    write(&path("gen"), &render(&update, &facts, &place));
    let config = path("gen/nginx.conf");
    let ran = Command::new(program)
        .args(["-t", "-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(config)
        .output();
    let ran = ran.unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

fn check(projection: &Projection) {
    for program in programs() {
        let (taken, printed) = test(&program, projection.clone());
        assert!(taken && !printed.contains("[warn]"), "{}: {printed}", program.display());
    }
}

#[test]
fn nothing_at_all() {
    check(&Projection::default());
}

#[test]
fn a_bit_of_everything() {
    check(&sample(None));
}

#[test]
fn tls() {
    let id = Id::from_uuid(uuid::Uuid::from_u128(9));
    let made = rcgen::generate_simple_self_signed(vec!["api.example.com".to_owned()]).unwrap();
    let certificate = Certificate {
        domain: "api.example.com".into(),
        certificate_pem: made.cert.pem(),
        private_key_pem: Secret::new(made.signing_key.serialize_pem()),
        expires_at: i64::MAX,
    };
    let certificates = BTreeMap::from([(id, Arc::new(certificate))]);
    check(&Projection { certificates, ..sample(Some(id)) });
}

#[test]
fn many_and_long_names() {
    let long = [&*"a".repeat(63), &*"b".repeat(63), &*"c".repeat(63), &*"d".repeat(61)].join(".");
    let names =
        (0..3000).map(|number| format!("host{number}.some-department.example.com")).chain([long]);
    let hosts = names.zip(1..).map(|(name, number)| {
        let body = serde_json::json!({
            "name": "h", "server_name": name, "listen_port": 8080, "locations": [{"path": "/", "root": "/srv"}],
        });
        let host: NewVirtualHost = from_json(body).unwrap();
        (Id::from_uuid(uuid::Uuid::from_u128(number)), Arc::new(host.parse().unwrap().0))
    });
    check(&Projection { virtual_hosts: hosts.collect(), ..Projection::default() });
}

#[test]
fn ports_in_every_combination() {
    let host = |name: &str, http2: bool| {
        let body = serde_json::json!({
            "name": "h", "server_name": name, "listen_port": 8080, "http2_enabled": http2,
            "locations": [{"path": "/", "root": "/srv"}],
        });
        Arc::new(from_json::<NewVirtualHost>(body).unwrap().parse().unwrap().0)
    };
    for names in [["a.example", "b.example"], ["_", "b.example"], ["a.example", "_"]] {
        for http2 in [[false, false], [true, false], [false, true], [true, true]] {
            let hosts = [(1, host(names[0], http2[0])), (2, host(names[1], http2[1]))];
            let hosts =
                hosts.map(|(number, it)| (Id::from_uuid(uuid::Uuid::from_u128(number)), it));
            check(&Projection { virtual_hosts: hosts.into(), ..Projection::default() });
        }
    }
}
