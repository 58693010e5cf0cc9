use std::{io::Write, net::TcpStream, time::Duration};

use nxmesh_agent::OnExit;
use nxmesh_core::gateway::{
    drift::DriftPolicy,
    link::{AgentMessage, ApplyStatus, COMMAND_RESULT, Command, CommandAction, ServerMessage},
};

use crate::given::{
    Played, State, answered, config, free_port, start, start_with, until, with_drift,
};

pub(crate) async fn order(server: &mut Played, action: CommandAction) -> (String, String) {
    server.send(ServerMessage::Command(Command { command_id: "7".into(), action })).await;
    let event = server.find(|message| match message {
        AgentMessage::Event(event) => Some(event),
        _ => None,
    });
    let event = event.await;
    assert_eq!(
        (event.event_type.as_str(), event.data["command_id"].as_str()),
        (COMMAND_RESULT, "7")
    );
    (event.data["success"].clone(), event.data["message"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_carried_out_and_answered() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    assert_eq!(server.apply(&config(1, port, "one")).await.0.last(), Some(&ApplyStatus::Success));

    let before = agent.nginx_pid();
    assert_eq!(order(&mut server, CommandAction::Reload { graceful: true }).await.0, "true");
    assert_eq!(agent.nginx_pid(), before);
    assert_eq!(order(&mut server, CommandAction::Restart { force: true }).await.0, "true");
    assert_ne!(agent.nginx_pid(), before);
    until("nginx to serve again", async || answered(port).await.as_deref() == Some("one")).await;

    let stop = CommandAction::Stop { graceful: true, timeout: Duration::from_secs(5) };
    assert_eq!(order(&mut server, stop).await.0, "true");
    assert_eq!(answered(port).await, None);
    // It is not started again by itself, but when it is told to serve.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(answered(port).await, None);
    assert_eq!(server.apply(&config(2, port, "two")).await.0.last(), Some(&ApplyStatus::Success));
    until("nginx to serve again", async || answered(port).await.as_deref() == Some("two")).await;

    let text = CommandAction::ValidateConfig { config_content: "load_module /tmp/evil.so;".into() };
    let (success, message) = order(&mut server, text).await;
    assert!(success == "false" && message.contains("may load code"), "{message}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_nginx_refuses_is_told_although_old_workers_answer() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    // What somebody changed stays, so that it can be refused.
    let one = with_drift(&config(1, port, "one"), DriftPolicy::Report);
    assert_eq!(server.apply(&one).await.0.last(), Some(&ApplyStatus::Success));
    let file = state.path().join("current/nginx.conf");
    std::fs::write(file, "this is no configuration").unwrap();
    let (success, message) = order(&mut server, CommandAction::Reload { graceful: true }).await;
    assert_eq!(success, "false");
    assert!(message.contains("unexpected end of file"), "{message}");
    assert_eq!(answered(port).await.as_deref(), Some("one"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_gone_when_it_is_said_to_be_stopped_whoever_still_talks_to_it() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    assert_eq!(server.apply(&config(1, port, "one")).await.0.last(), Some(&ApplyStatus::Success));
    let mut talker = TcpStream::connect(("127.0.0.1", port)).unwrap();
    talker.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let master = agent.nginx_pid();
    let stop = CommandAction::Stop { graceful: true, timeout: Duration::from_secs(1) };
    assert_eq!(order(&mut server, stop).await.0, "true");
    let stat = std::fs::read_to_string(format!("/proc/{master}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_ends_with_the_agent_if_that_is_asked_for() {
    let state = State::new();
    let mut agent = start_with(&state.path(), OnExit::Stop);
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    assert_eq!(server.apply(&config(1, port, "one")).await.0.last(), Some(&ApplyStatus::Success));
    agent.stop().await;
    assert_eq!(answered(port).await, None);
}
