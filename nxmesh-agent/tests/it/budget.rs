//! How often nginx is reloaded, and how many old workers go on.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use nxmesh_agent::{AgentSettings, ReloadBudget};
use nxmesh_core::gateway::link::{
    AgentMessage, ApplyStatus::Success, CommandAction, ServerMessage,
};

use crate::{
    commands::order,
    given::{Played, State, config, free_port, served, settings, start_as, until},
};

/// The number of the folder that nginx uses: one for each that was ever written.
fn generation(state: &State) -> u64 {
    let folder = fs::canonicalize(state.path().join("current")).unwrap();
    folder.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn with(reloads: ReloadBudget) -> AgentSettings {
    AgentSettings { reloads, ..settings() }
}

/// Somebody whose request does not end: the worker that has it does not either.
fn talker(port: u16) -> TcpStream {
    let mut talker = TcpStream::connect(("127.0.0.1", port)).unwrap();
    talker.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    talker
}

/// Until the agent tells of so many old workers.
async fn draining(server: &mut Played, wanted: u32) {
    server
        .find(|message| match message {
            AgentMessage::Health(report) => (report.draining_workers == wanted).then_some(()),
            _ => None,
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_change_goes_at_once_and_the_next_ones_are_folded() {
    let (state, port) = (State::new(), free_port());
    let interval = Duration::from_secs(1);
    let mut agent = start_as(
        &state.path(),
        with(ReloadBudget { min_interval: interval, ..ReloadBudget::default() }),
    );
    let (mut server, _) = agent.accept().await;
    let (before, began) = (generation(&state), Instant::now());
    let last = 40;
    for version in 1..last {
        server.send(ServerMessage::Config(config(version, port, "many"))).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.apply_last(&config(last, port, "last")).await, Success);
    let written = generation(&state) - before;
    // One at once, and then one each second, of which this knows how many there were.
    let most = 1 + began.elapsed().as_millis().div_ceil(interval.as_millis());
    assert!(u128::from(written) <= most, "{written} reloads where {most} are the most");
    assert!(written >= 2, "the first one did not go at once");
    assert_eq!(served(&state.path()).await.as_deref(), Some("40"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_too_many_old_workers_go_on_there_is_no_reload() {
    let (state, port) = (State::new(), free_port());
    let reloads = ReloadBudget {
        min_interval: Duration::ZERO,
        max_draining_workers: 1,
        ..ReloadBudget::default()
    };
    let mut agent = start_as(&state.path(), with(reloads));
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply_last(&config(1, port, "one")).await, Success);
    let first = talker(port);
    assert_eq!(server.apply_last(&config(2, port, "two")).await, Success);
    draining(&mut server, 1).await;
    // One is allowed.
    let second = talker(port);
    assert_eq!(server.apply_last(&config(3, port, "three")).await, Success);
    draining(&mut server, 2).await;
    server.send(ServerMessage::Config(config(4, port, "four"))).await;
    let (success, message) = order(&mut server, CommandAction::Reload { graceful: true }).await;
    assert_eq!(success, "false");
    assert!(message.starts_with("2 old workers") && message.contains("at most 1"), "{message}");
    for _ in 0..10 {
        draining(&mut server, 2).await;
    }
    assert_eq!(served(&state.path()).await.as_deref(), Some("3"));
    drop(first);
    until("the next", async || served(&state.path()).await.as_deref() == Some("4")).await;
    drop(second);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_they_are_too_many_the_oldest_workers_are_ended() {
    let (state, port) = (State::new(), free_port());
    let reloads = ReloadBudget {
        min_interval: Duration::ZERO,
        max_draining_workers: 1,
        drain_timeout: Duration::from_millis(100),
    };
    let mut agent = start_as(&state.path(), with(reloads));
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply_last(&config(1, port, "one")).await, Success);
    let mut first = talker(port);
    assert_eq!(server.apply_last(&config(2, port, "two")).await, Success);
    draining(&mut server, 1).await;
    let mut second = talker(port);
    assert_eq!(server.apply_last(&config(3, port, "three")).await, Success);
    assert_eq!(server.apply_last(&config(4, port, "four")).await, Success);
    // The older one was cut off, the younger one may go on.
    first.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let ended = first.read(&mut [0; 16]);
    assert!(
        ended.as_ref().map_or_else(|it| it.kind() != std::io::ErrorKind::WouldBlock, |it| *it == 0),
        "{ended:?}"
    );
    second.write_all(b"Host: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    assert!(text.contains("X-Text: two"), "{text}");
    agent.stop().await;
}
