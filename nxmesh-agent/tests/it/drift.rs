//! What somebody else changes on the host is noticed, told, and put back, or not.

use std::{
    fs::{self, File, FileTimes, Permissions},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use nxmesh_core::{
    Clock, Secret, SystemClock,
    conformance::given::id,
    gateway::{
        Certificate, ConfigUpdate, Projection,
        drift::{
            DriftChange, DriftEnd, DriftEnded, DriftFound, DriftKind, DriftPolicy, DriftReport,
            MAX_DRIFT_DIFF, MAX_DRIFTED_FILES,
        },
        link::{
            AgentMessage,
            ApplyStatus::{Failed, Success},
        },
    },
};
use rustix::process::Signal;

use crate::given::{
    Fleet, Played, Running, State, answered, config, free_port, nginx_pid, signal, start, until,
    with_drift, workers,
};

/// The file of the one virtual host.
fn host_file(state: &Path) -> PathBuf {
    let hosts = fs::read_dir(state.join("current/virtual-hosts")).unwrap();
    hosts.map(|it| it.unwrap().path()).next().unwrap()
}

/// Writes into the file that is there, as editors that keep the inode do.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from) && from.len() == to.len(), "{text}");
    // In one write, so that no look finds half of it, and in the same file.
    let mut file = File::options().write(true).open(file).unwrap();
    file.write_all(text.replace(from, to).as_bytes()).unwrap();
}

/// What becomes of drift, up to and with the one that is waited for.
async fn changes(server: &mut Played, last: impl Fn(&DriftChange) -> bool) -> Vec<DriftChange> {
    let mut all = Vec::new();
    server
        .find(|message| {
            let AgentMessage::Health(report) = message else { return None };
            all.extend(report.drift_changes);
            all.iter().any(&last).then_some(())
        })
        .await;
    all
}

async fn found(server: &mut Played) -> DriftFound {
    let all = changes(server, |it| matches!(it, DriftChange::Found(_))).await;
    let [DriftChange::Found(found), ..] = &all[..] else { panic!("{all:?}") };
    found.clone()
}

async fn ended(server: &mut Played) -> DriftEnd {
    let all = changes(server, |it| matches!(it, DriftChange::Ended(_))).await;
    let Some(DriftChange::Ended(DriftEnded { by, .. })) = all.last() else { panic!("{all:?}") };
    *by
}

/// How things stand, once they stand as wanted.
async fn standing(server: &mut Played, wanted: impl Fn(&DriftReport) -> bool) -> DriftReport {
    server
        .find(|message| match message {
            AgentMessage::Health(report) => report.drift.filter(&wanted),
            _ => None,
        })
        .await
}

fn kinds(report: &DriftReport) -> Vec<(&str, DriftKind)> {
    report.files.iter().map(|it| (it.path.as_str(), it.kind)).collect()
}

/// An agent that serves this, and does this about drift.
async fn serving(state: &State, port: u16, policy: DriftPolicy) -> (Running, Played) {
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&config(1, port, "one")).await.0.last(), Some(&Success));
    let update = with_drift(&config(1, port, "one"), policy);
    assert_eq!(server.apply(&update).await.0, [Success]);
    (agent, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_by_hand_is_told_with_its_diff_and_put_back_without_a_reload() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Restore).await;
    let master = agent.nginx_pid();
    // The workers of before are gone, and what is changed now was not there to be loaded.
    for _ in 0..5 {
        standing(&mut server, |it| it.total == 0).await;
    }
    let (before, folder) = (workers(master), fs::read_link(state.path().join("current")).unwrap());
    let file = host_file(&state.path());
    let edited = folder.join("virtual-hosts").join(file.file_name().unwrap());
    // Kept, to see later that whoever edited it finds it again.
    let kept = state.path().join("kept");
    fs::hard_link(&edited, &kept).unwrap();
    edit(&edited, "one", "six");
    let found = found(&mut server).await;
    let [only] = &found.files[..] else { panic!("{found:?}") };
    assert_eq!((only.kind, found.total, only.truncated), (DriftKind::Changed, 1, false));
    assert!(edited.ends_with(&only.path), "{}", only.path);
    let diff = only.diff.as_deref().unwrap();
    let line = |sign: char, text: &str| {
        diff.lines().any(|it| it.starts_with(sign) && it.contains(&format!("X-Text {text}")))
    };
    assert!(line('-', "one") && line('+', "six"), "{diff}");
    standing(&mut server, |it| it.total == 0).await;
    assert!(fs::read_to_string(host_file(&state.path())).unwrap().contains("X-Text one"));
    assert_ne!(fs::read_link(state.path().join("current")).unwrap(), folder);
    assert!(fs::read_to_string(kept).unwrap().contains("X-Text six"), "what was edited was edited");
    assert_eq!((agent.nginx_pid(), workers(master)), (master, before));
    assert_eq!(answered(port).await.as_deref(), Some("one"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_reported_stays_until_the_policy_changes_and_is_then_unloaded() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Report).await;
    edit(&host_file(&state.path()), "one", "six");
    signal(agent.nginx_pid(), Signal::HUP);
    until("nginx to load it", async || answered(port).await.as_deref() == Some("six")).await;
    let reloaded = |it: &DriftReport| {
        it.files.iter().any(|it| it.kind == DriftKind::NginxReloaded) && it.files.len() == 2
    };
    let report = standing(&mut server, reloaded).await;
    assert_eq!(report.policy, DriftPolicy::Report);
    assert!(report.files.iter().all(|it| it.diff.is_none()), "diffs are told once");
    for _ in 0..20 {
        standing(&mut server, |it| it.total == 2).await;
    }
    assert_eq!(answered(port).await.as_deref(), Some("six"));
    // The same content with another policy: as when somebody only changes that.
    let update = with_drift(&config(1, port, "one"), DriftPolicy::Restore);
    let update = ConfigUpdate { config_id: "2-test".into(), ..update.as_ref().clone() };
    assert_eq!(server.apply_last(&Arc::new(update)).await, Success);
    until("nginx to load what it should", async || answered(port).await.as_deref() == Some("one"))
        .await;
    assert_eq!(standing(&mut server, |it| it.total == 0).await.policy, DriftPolicy::Restore);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_named_and_what_is_mended_by_hand_ends() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Report).await;
    let folder = fs::read_link(state.path().join("current")).unwrap();
    let conf = folder.join("nginx.conf");
    let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    allow(&conf, 0o666).unwrap();
    allow(&folder.join("virtual-hosts"), 0o777).unwrap();
    fs::write(folder.join("ours.conf"), "# ours\n").unwrap();
    fs::rename(folder.join("rotation.json"), folder.join("moved")).unwrap();
    fs::remove_file(state.path().join("current")).unwrap();
    symlink(state.path().join("gen"), state.path().join("current")).unwrap();
    let report = standing(&mut server, |it| it.total >= 6).await;
    let mut named = kinds(&report);
    named.sort_unstable();
    assert_eq!(
        named,
        [
            ("current", DriftKind::Link),
            ("moved", DriftKind::Added),
            ("nginx.conf", DriftKind::Permissions),
            ("ours.conf", DriftKind::Added),
            ("rotation.json", DriftKind::Missing),
            ("virtual-hosts/", DriftKind::Permissions),
        ]
    );
    allow(&conf, 0o644).unwrap();
    allow(&folder.join("virtual-hosts"), 0o700).unwrap();
    fs::remove_file(folder.join("ours.conf")).unwrap();
    fs::rename(folder.join("moved"), folder.join("rotation.json")).unwrap();
    fs::remove_file(state.path().join("current")).unwrap();
    symlink(&folder, state.path().join("current")).unwrap();
    assert_eq!(ended(&mut server).await, DriftEnd::Hand);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_points_elsewhere_and_files_that_are_gone_are_put_back() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Restore).await;
    fs::remove_file(state.path().join("current")).unwrap();
    assert_eq!(ended(&mut server).await, DriftEnd::Agent);
    assert!(state.path().join("current/nginx.conf").is_file());
    fs::remove_dir_all(fs::read_link(state.path().join("current")).unwrap()).unwrap();
    assert_eq!(ended(&mut server).await, DriftEnd::Agent);
    assert!(state.path().join("current/nginx.conf").is_file());
    // And what follows is not disturbed by it.
    assert_eq!(server.apply_last(&config(2, port, "two")).await, Success);
    until("the next", async || answered(port).await.as_deref() == Some("two")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_same_size_with_the_times_of_before_is_noticed() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Restore).await;
    // The agent has looked at least once, and knows the file by its times.
    for _ in 0..15 {
        standing(&mut server, |it| it.total == 0).await;
    }
    let file = fs::canonicalize(host_file(&state.path())).unwrap();
    let before = fs::metadata(&file).unwrap();
    edit(&file, "one", "six");
    let times = FileTimes::new()
        .set_accessed(before.accessed().unwrap())
        .set_modified(before.modified().unwrap());
    File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
    let after = fs::metadata(&file).unwrap();
    assert_eq!(
        (after.len(), after.modified().unwrap()),
        (before.len(), before.modified().unwrap())
    );
    assert_eq!(found(&mut server).await.files[0].kind, DriftKind::Changed);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_files_and_sixteen_kib_of_each_are_told() {
    let (state, fleet) = (State::new(), Fleet::new(MAX_DRIFTED_FILES + 1));
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let update = with_drift(&fleet.config(1), DriftPolicy::Report);
    assert_eq!(server.apply(&update).await.0.last(), Some(&Success));
    let hosts = fs::canonicalize(state.path().join("current/virtual-hosts")).unwrap();
    let mut files: Vec<_> = fs::read_dir(&hosts).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let first = fs::read_to_string(&files[0]).unwrap();
    // At once, by a rename: no look falls between two of the edits.
    let draft = hosts.with_file_name("draft");
    fs::create_dir(&draft).unwrap();
    fs::set_permissions(&draft, Permissions::from_mode(0o700)).unwrap();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let more = if *file == files[0] { "# more\n".repeat(MAX_DRIFT_DIFF) } else { "#\n".into() };
        fs::write(draft.join(file.file_name().unwrap()), text + &more).unwrap();
    }
    let aside = state.path().join("aside");
    fs::rename(&hosts, aside).unwrap();
    fs::rename(&draft, &hosts).unwrap();
    let edited = |it: &DriftChange| match it {
        DriftChange::Found(it) => it.files.iter().all(|it| it.kind == DriftKind::Changed),
        DriftChange::Ended(_) => false,
    };
    let all = changes(&mut server, edited).await;
    let Some(DriftChange::Found(told)) = all.iter().find(|it| edited(it)) else { panic!() };
    assert_eq!((told.files.len(), told.total), (MAX_DRIFTED_FILES, 21));
    let (large, small) = (&told.files[0], &told.files[1]);
    assert!(files[0].ends_with(&large.path) && large.truncated && !small.truncated);
    assert_eq!(large.diff.as_ref().unwrap().len(), MAX_DRIFT_DIFF);
    assert!(small.diff.as_ref().unwrap().ends_with("+#\n"));
    // Of what goes back to what it was, the rest stays told.
    fs::write(&files[0], first).unwrap();
    standing(&mut server, |it| it.total == 20 && it.files.len() == 20).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_keys_are_never_told() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let certificate = Certificate {
        domain: "a.example".into(),
        certificate_pem: "THE CERTIFICATE\n".into(),
        private_key_pem: Secret::new("THE KEY\n".into()),
        expires_at: 0,
    };
    let certificates = [(id(), Arc::new(certificate))].into();
    let update = ConfigUpdate {
        projection: Arc::new(Projection { certificates, ..Projection::default() }),
        drift: DriftPolicy::Report,
        ..config(1, free_port(), "one").as_ref().clone()
    };
    assert_eq!(server.apply(&Arc::new(update)).await.0.last(), Some(&Success));
    let folder = fs::canonicalize(state.path().join("current")).unwrap();
    let files = fs::read_dir(folder.join("certificates")).unwrap();
    for file in files.map(|it| it.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("THE", "ANOTHER")).unwrap();
    }
    fs::write(folder.join("update.pb"), "ANOTHER KEY").unwrap();
    fs::write(folder.join("a.conf"), "-----BEGIN PRIVATE KEY-----\nANOTHER KEY\n").unwrap();
    let all =
        changes(&mut server, |it| matches!(it, DriftChange::Found(it) if it.total == 4)).await;
    let said = format!("{all:?}");
    assert!(said.contains("-THE CERTIFICATE") && !said.contains("KEY"), "{said}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_others_stop_or_replace_is_told_and_serves() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Restore).await;
    let is = |kind| {
        move |it: &DriftChange| match it {
            DriftChange::Found(it) => it.files.iter().any(|it| it.kind == kind),
            DriftChange::Ended(_) => false,
        }
    };
    let before = agent.nginx_pid();
    signal(before, Signal::TERM);
    let all = changes(&mut server, is(DriftKind::NginxStopped)).await;
    if !all.iter().any(|it| matches!(it, DriftChange::Ended(_))) {
        assert_eq!(ended(&mut server).await, DriftEnd::Agent);
    }
    assert_ne!(agent.nginx_pid(), before);
    assert_eq!(answered(port).await.as_deref(), Some("one"));
    // As when nginx is upgraded in place: a new master beside the old one, which then ends.
    let before = agent.nginx_pid();
    signal(before, Signal::USR2);
    until("another master", async || nginx_pid(&state.path()).is_some_and(|it| it != before)).await;
    signal(before, Signal::QUIT);
    changes(&mut server, is(DriftKind::NginxRestarted)).await;
    standing(&mut server, |it| it.total == 0).await;
    assert_eq!(answered(port).await.as_deref(), Some("one"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_workers_is_not_taken_for_a_reload() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Report).await;
    for worker in workers(agent.nginx_pid()) {
        signal(worker, Signal::KILL);
    }
    for _ in 0..20 {
        standing(&mut server, |it| it.total == 0).await;
    }
    // Noticed is what comes afterwards.
    signal(agent.nginx_pid(), Signal::HUP);
    assert_eq!(found(&mut server).await.files[0].kind, DriftKind::NginxReloaded);
    agent.stop().await;
}

fn soon(seconds: i64) -> DateTime<Utc> {
    SystemClock.now() + chrono::TimeDelta::seconds(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_adopted_stays_and_holds_others_back_until_its_time_is_over() {
    let (state, port) = (State::new(), free_port());
    let adopt = DriftPolicy::Adopt { until: soon(12) };
    let (agent, mut server) = serving(&state, port, adopt).await;
    edit(&host_file(&state.path()), "one", "six");
    assert_eq!(found(&mut server).await.total, 1);
    let (steps, reason) = server.apply(&with_drift(&config(2, port, "two"), adopt)).await;
    assert_eq!(steps, [Failed]);
    assert!(reason.contains("held back until") && reason.contains("adopt"), "{reason}");
    // Also by an agent that was restarted, before any server tells it.
    agent.kill().await;
    let mut agent = start(&state.path());
    let (mut server, registration) = agent.accept().await;
    assert_eq!(registration.config_checksum, "sum1");
    let report = standing(&mut server, |it| it.total == 1).await;
    assert_eq!(report.policy, adopt);
    assert!(fs::read_to_string(host_file(&state.path())).unwrap().contains("X-Text six"));
    assert_eq!(server.apply(&with_drift(&config(2, port, "two"), adopt)).await.0, [Failed]);
    // The last that was held back comes by itself.
    until("what was held back", async || answered(port).await.as_deref() == Some("two")).await;
    standing(&mut server, |it| it.total == 0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_does_not_come_after_what_is_newer() {
    let (state, port) = (State::new(), free_port());
    let adopt = DriftPolicy::Adopt { until: soon(3600) };
    let (agent, mut server) = serving(&state, port, adopt).await;
    assert_eq!(server.apply(&with_drift(&config(2, port, "two"), adopt)).await.0, [Failed]);
    assert_eq!(server.apply_last(&config(3, port, "three")).await, Success);
    for _ in 0..10 {
        standing(&mut server, |it| it.total == 0).await;
    }
    assert_eq!(answered(port).await.as_deref(), Some("three"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_adopted_is_put_back_when_its_time_is_over() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Adopt { until: soon(6) }).await;
    edit(&host_file(&state.path()), "one", "six");
    assert_eq!(ended(&mut server).await, DriftEnd::Agent);
    assert!(fs::read_to_string(host_file(&state.path())).unwrap().contains("X-Text one"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_and_loaded_while_there_was_no_agent_is_put_back_and_unloaded() {
    let (state, port) = (State::new(), free_port());
    let (agent, _) = serving(&state, port, DriftPolicy::Restore).await;
    let master = agent.nginx_pid();
    agent.kill().await;
    edit(&host_file(&state.path()), "one", "six");
    signal(master, Signal::HUP);
    until("nginx to load it", async || answered(port).await.as_deref() == Some("six")).await;
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let all = changes(&mut server, |it| matches!(it, DriftChange::Ended(_))).await;
    assert!(matches!(&all[0], DriftChange::Found(it) if it.files[0].diff.is_some()), "{all:?}");
    until("the right one", async || answered(port).await.as_deref() == Some("one")).await;
    assert_eq!(agent.nginx_pid(), master);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_ends_what_was_reported_and_takes_nothing_of_it_along() {
    let (state, port) = (State::new(), free_port());
    let (agent, mut server) = serving(&state, port, DriftPolicy::Report).await;
    let file = host_file(&state.path());
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    edit(&state.path().join("current/nginx.conf"), "server_tokens off", "server_tokens on ");
    standing(&mut server, |it| it.total == 2).await;
    let two = with_drift(&config(2, port, "two"), DriftPolicy::Report);
    assert_eq!(server.apply_last(&two).await, Success);
    assert_eq!(ended(&mut server).await, DriftEnd::Update);
    let conf = fs::read_to_string(state.path().join("current/nginx.conf")).unwrap();
    assert!(conf.contains("server_tokens off"), "{conf}");
    tokio::time::sleep(Duration::from_millis(10)).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_said_to_have_heard_is_told_again_as_it_was() {
    let (state, port) = (State::new(), free_port());
    let (mut agent, mut server) = serving(&state, port, DriftPolicy::Report).await;
    edit(&host_file(&state.path()), "one", "two");
    let told = found(&mut server).await;
    drop(server);
    let (mut server, _) = agent.accept().await;
    assert_eq!(found(&mut server).await, told);
    agent.stop().await;
}
