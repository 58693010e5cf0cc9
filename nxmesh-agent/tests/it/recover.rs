use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nxmesh_core::gateway::link::{
    AgentMessage,
    ApplyStatus::{RolledBack, Success},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::given::{State, answered, config, free_port, nginx_pid, start, strict, until};

fn target(state: &Path, link: &str) -> PathBuf {
    fs::canonicalize(state.join(link)).unwrap()
}

fn point(state: &Path, link: &str, to: &Path) {
    fs::remove_file(state.join(link)).unwrap();
    symlink(to, state.join(link)).unwrap();
}

/// Kills nginx's master; its workers go on answering until they are dismissed.
fn kill_nginx(state: &Path) -> i32 {
    let pid = nginx_pid(state).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    pid
}

/// Waits until another master serves this.
async fn until_served_by_another(state: &Path, before: i32, port: u16, text: &str) {
    until("another nginx to serve", async || {
        let another = nginx_pid(state).is_some_and(|pid| pid != before);
        another && answered(port).await.as_deref() == Some(text)
    })
    .await;
}

/// Applies two configurations, and kills the agent; answers the folder of each.
async fn applied_twice(state: &State, port: u16) -> (PathBuf, PathBuf) {
    let mut agent = start(&state.path());
    let (mut server, first) = agent.accept().await;
    assert_eq!(
        (first.token.expose().as_str(), first.config_checksum.as_str()),
        ("nxmesh_agent_test", "")
    );
    assert_eq!(server.apply(&config(1, port, "one")).await.0.last(), Some(&Success));
    let one = target(&state.path(), "current");
    assert_eq!(server.apply(&config(2, port, "two")).await.0.last(), Some(&Success));
    let two = target(&state.path(), "current");
    agent.kill().await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_takes_over_with_the_credential_and_tells_what_is_proven() {
    let (state, port) = (State::new(), free_port());
    applied_twice(&state, port).await;
    let before = nginx_pid(&state.path());
    let mut agent = start(&state.path());
    let (_server, again) = agent.accept().await;
    assert_eq!(again.token.expose(), "nxmesh_credential_test");
    assert_eq!((again.config_checksum.as_str(), again.config_version.0), ("sum2", 2));
    assert_eq!(nginx_pid(&state.path()), before);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_was_cut_off_after_the_switch_is_finished() {
    let (state, port) = (State::new(), free_port());
    let (one, two) = applied_twice(&state, port).await;
    // As if the agent had been killed between the rename and the signal: nginx serves the
    // second, `current` says the first, and only the second is proven.
    point(&state.path(), "current", &one);
    let mut agent = start(&state.path());
    let (_server, registration) = agent.accept().await;
    assert_eq!(registration.config_checksum, "sum1");
    until("the switched one", async || answered(port).await.as_deref() == Some("one")).await;
    assert_eq!(target(&state.path(), "verified"), one);
    assert_ne!(one, two);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_was_cut_off_and_does_not_work_is_undone() {
    let (state, port) = (State::new(), free_port());
    let (one, two) = applied_twice(&state, port).await;
    fs::write(one.join("nginx.conf"), "this is no configuration").unwrap();
    point(&state.path(), "current", &one);
    let mut agent = start(&state.path());
    let (_server, registration) = agent.accept().await;
    assert_eq!(registration.config_checksum, "sum2");
    assert_eq!(answered(port).await.as_deref(), Some("two"));
    assert_eq!(target(&state.path(), "current"), two);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_nginx_is_started_with_what_it_served_last() {
    let (state, port) = (State::new(), free_port());
    applied_twice(&state, port).await;
    let before = kill_nginx(&state.path());
    // Nobody accepts: there is no server.
    let agent = start(&state.path());
    until_served_by_another(&state.path(), before, port, "two").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_does_not_start_gives_way_to_the_last_that_did() {
    let (state, port) = (State::new(), free_port());
    let (one, two) = applied_twice(&state, port).await;
    fs::write(one.join("nginx.conf"), "this is no configuration").unwrap();
    point(&state.path(), "current", &one);
    let before = kill_nginx(&state.path());
    let agent = start(&state.path());
    until_served_by_another(&state.path(), before, port, "two").await;
    assert_eq!(target(&state.path(), "current"), two);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_somebody_took_meanwhile_is_told_and_served_again_when_it_is_free() {
    let (state, port) = (State::new(), free_port());
    applied_twice(&state, port).await;
    let before = nginx_pid(&state.path()).unwrap();
    kill_process(Pid::from_raw(before).unwrap(), Signal::TERM).unwrap();
    let mut holder = None;
    until("nginx to let go of the port", async || {
        holder = TcpListener::bind(("0.0.0.0", port)).ok();
        holder.is_some()
    })
    .await;
    let mut agent = start(&state.path());
    let (mut server, registration) = agent.accept().await;
    // It is not proven, so whatever the server wants is sent again, and its fate told.
    assert_ne!(registration.config_checksum, "sum2");
    // It holds back what it cannot serve, and tells that by itself.
    let held = server.find(|message| match message {
        AgentMessage::ConfigStatus(it) => (it.quarantined_total > 0).then_some(it.status),
        _ => None,
    });
    assert_eq!(held.await, Success);
    let (steps, reason) = server.apply(&strict(&config(2, port, "two"))).await;
    assert_eq!(steps.last(), Some(&RolledBack));
    assert!(reason.contains("(98: "), "{reason}");
    let (steps, held) = server.apply_and_hold(&config(2, port, "two")).await;
    assert_eq!((steps.last(), held.len()), (Some(&Success), 1));
    assert_eq!((held[0].field.as_str(), held[0].running_revision), ("listen_port", None));
    assert!(held[0].error.contains("(98: "), "{held:?}");
    drop(holder);
    assert_eq!(server.apply(&config(2, port, "two")).await.0.last(), Some(&Success));
    until_served_by_another(&state.path(), before, port, "two").await;
    until("the proof to be told", async || {
        let told = server.find(|message| match message {
            AgentMessage::Health(report) => Some(report.config_checksum),
            _ => None,
        });
        told.await == "sum2"
    })
    .await;
    agent.stop().await;
}
