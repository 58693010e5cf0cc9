//! The house stays in order: sizes, directions, and what ARCHITECTURE.md says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Files longer than this are to be split.
const MAX_LINES: usize = 600;
/// Contents pages longer than this, comments aside, have logic in them.
const MAX_CONTENTS_LINES: usize = 80;
/// Areas, which meet only through `tenancy` and the root.
const AREAS: &[&str] = &["gateway", "telemetry", "rendezvous", "accounts", "files", "compute"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All Rust files of the packages, by path from the root; what is generated is left out.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = [
        "proto",
        "nxmesh-core",
        "nxmesh-server",
        "nxmesh-agent",
        "nxmesh-client",
        "examples",
        "benches",
    ]
    .map(|it| root().join(it))
    .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.retain(|(name, _)| !name.contains("/generated/"));
    found
}

fn report(what: &str, found: &BTreeSet<String>) {
    assert!(
        found.is_empty(),
        "{what}:\n  {}",
        found.iter().cloned().collect::<Vec<_>>().join("\n  ")
    );
}

#[test]
fn files_keep_their_budget() {
    let long = sources().into_iter().filter(|(_, text)| text.lines().count() > MAX_LINES);
    report(
        "files over 600 lines",
        &long.map(|(name, text)| format!("{name}: {}", text.lines().count())).collect(),
    );
}

#[test]
fn contents_pages_have_no_logic() {
    let mut found = BTreeSet::new();
    for (name, text) in sources() {
        if !name.ends_with("/lib.rs") && !name.ends_with("/mod.rs") {
            continue;
        }
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//") && !line.trim().is_empty());
        let lines = code.clone().count();
        if lines > MAX_CONTENTS_LINES && !name.contains("conformance") {
            found.insert(format!("{name}: {lines} lines of code"));
        }
        if name.contains("/src/")
            && !name.contains("/store/")
            && code.clone().any(|line| line.starts_with("impl ") || line.starts_with("fn "))
        {
            found.insert(format!("{name}: has logic"));
        }
    }
    report("contents pages with logic", &found);
}

#[test]
fn areas_do_not_reach_into_each_other() {
    let mut found = BTreeSet::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| name.contains("/src/")) {
        let parts: Vec<_> = name.split('/').collect();
        // package/src/AREA/...
        let area = parts.get(2).copied().unwrap_or_default();
        let foreign: Vec<_> = match area {
            "tenancy" => AREAS.to_vec(),
            _ if AREAS.contains(&area) => AREAS.iter().copied().filter(|it| *it != area).collect(),
            _ => continue,
        };
        for other in foreign {
            let used = [
                format!("crate::{other}::"),
                format!("    {other}::"),
                format!("crate::{{{other}::"),
            ];
            if text.lines().any(|line| {
                used.iter()
                    .any(|it| line.starts_with(it.as_str()) || line.contains(&format!("use {it}")))
            }) {
                found.insert(format!("{name} uses {other}"));
            }
        }
    }
    report("areas that reach into others", &found);
}

#[test]
fn dependencies_point_one_way() {
    let mut cargo = Command::new(env!("CARGO"));
    let printed = cargo
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let mut found = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let allowed: &[&str] = match name {
            "nxmesh-proto" => &[],
            "nxmesh-core" => &["nxmesh-proto"],
            "nxmesh-server" | "nxmesh-agent" | "nxmesh-client" => &["nxmesh-core"],
            _ => continue,
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            let for_use = dependency["kind"].is_null();
            if for_use && other.starts_with("nxmesh-") && !allowed.contains(&other) {
                found.insert(format!("{name} -> {other}"));
            }
            let database = ["rusqlite", "sqlx"].contains(&other);
            if for_use && database && name != "nxmesh-core" {
                found.insert(format!("{name} -> {other}"));
            }
        }
    }
    report("dependencies in a wrong direction", &found);
}

#[test]
fn technologies_are_named_only_in_their_folders() {
    let homes = [
        (
            "rusqlite",
            &[
                "nxmesh-core/src/store/sqlite/",
                "nxmesh-core/tests/store_sqlite.rs",
                "nxmesh-core/tests/transfer.rs",
                "benches/writes.rs",
            ][..],
        ),
        (
            "sqlx",
            &[
                "nxmesh-core/src/store/postgres/",
                "nxmesh-core/src/conformance/postgres.rs",
                "benches/",
            ],
        ),
        ("nxmesh_proto", &["nxmesh-core/src/transport/grpc/", "nxmesh-server/tests/", "proto/"]),
        ("PostgresStore", &["nxmesh-core/", "nxmesh-server/src/main.rs", "examples/", "benches/"]),
        (
            "SqliteStore",
            &[
                "nxmesh-core/",
                "nxmesh-server/src/main.rs",
                "nxmesh-server/src/lib.rs",
                "nxmesh-server/tests/",
                "examples/",
                "benches/",
            ],
        ),
    ];
    let mut found = BTreeSet::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !name.ends_with("tidy.rs")) {
        for (technology, homes) in homes {
            let named = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(technology));
            if named && !homes.iter().any(|home| name.starts_with(home)) {
                found.insert(format!("{name} names {technology}"));
            }
        }
    }
    report("technologies outside their folders", &found);
}

#[test]
fn rendering_is_pure() {
    let mut found = BTreeSet::new();
    for (name, text) in sources() {
        let tests = ["/accepts.rs", "/tests.rs", "/parse.rs"].iter().any(|it| name.ends_with(it));
        if !name.starts_with("nxmesh-core/src/gateway/nginx/") || tests {
            continue;
        }
        for impure in ["std::fs", "std::net", "std::env", "std::time", "tokio", "Clock", "rand::"] {
            if text.contains(impure) {
                found.insert(format!("{name} uses {impure}"));
            }
        }
    }
    report("impure rendering", &found);
}

#[test]
fn what_architecture_names_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named = text.split('`').skip(1).step_by(2).filter(|it| {
        let path = it.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        path && it.contains('/') && !it.starts_with('/')
    });
    let missing = named.filter(|it| !root().join(it).exists());
    report("paths in ARCHITECTURE.md that do not exist", &missing.map(str::to_owned).collect());
}
