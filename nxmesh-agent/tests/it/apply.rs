use std::{net::TcpListener, path::PathBuf};

use nxmesh_agent::OnExit;
use nxmesh_core::gateway::link::{
    AgentMessage,
    ApplyStatus::{Applying, Failed, Pending, RolledBack, Success, Validating},
};
use serde_json::json;

use crate::given::{
    State, answered, config, config_with, current_nginx, free_port, nginx, start, start_nginx,
    strict, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_an_apply_is_reported() {
    each_step_is_reported(nginx()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_an_apply_to_a_current_nginx_is_reported() {
    each_step_is_reported(current_nginx()).await;
}

async fn each_step_is_reported(nginx: PathBuf) {
    let state = State::new();
    let mut agent = start_nginx(nginx, &state.path(), OnExit::Keep);
    let (mut server, _) = agent.accept().await;
    let port = free_port();

    let first = config(1, port, "one");
    assert_eq!(
        server.apply(&first).await,
        (vec![Pending, Validating, Applying, Success], String::new())
    );
    until("the first", async || answered(port).await.as_deref() == Some("one")).await;

    // What is served already is confirmed, and nothing is done.
    let folders = || std::fs::read_dir(state.path().join("gen")).unwrap().count();
    let before = folders();
    assert_eq!(server.apply(&first).await, (vec![Success], String::new()));
    assert_eq!(folders(), before);

    // nginx's test refuses: nothing was changed.
    let broken = json!({"path": "/", "root": "/srv", "custom_directives": {"expires": "nonsense"}});
    let (steps, reason) = server.apply(&strict(&config_with(2, port, broken))).await;
    assert_eq!(steps, [Pending, Validating, Failed]);
    let field = "locations[0].custom_directives.expires: \"expires\" directive invalid value";
    assert!(reason.starts_with("virtual host a (") && reason.ends_with(field), "{reason}");

    // nginx's reload refuses: the old one runs again.
    let holder = TcpListener::bind("0.0.0.0:0").unwrap();
    let held = config(3, holder.local_addr().unwrap().port(), "three");
    let (steps, reason) = server.apply(&strict(&held)).await;
    assert_eq!(steps, [Pending, Validating, Applying, RolledBack]);
    // The C libraries have different words for it.
    assert!(reason.contains("): listen_port: bind() to "), "{reason}");
    assert!(reason.contains("(98: Address ") && reason.contains(" in use)"), "{reason}");
    assert_eq!(answered(port).await.as_deref(), Some("one"));

    let report = server.find(|message| match message {
        AgentMessage::Health(report) => Some(report),
        _ => None,
    });
    let report = report.await;
    assert_eq!((report.config_checksum.as_str(), report.config_version.0), ("sum1", 1));
    assert!(
        report.nginx.is_running && report.nginx.pid > 0 && report.system.memory_total_bytes > 0
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_updates_that_come_together_the_newest_is_applied() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    for version in 1..10 {
        let text = version.to_string();
        server
            .send(nxmesh_core::gateway::link::ServerMessage::Config(config(version, port, &text)))
            .await;
    }
    assert_eq!(server.apply_last(&config(10, port, "10")).await, Success);
    until("the newest", async || answered(port).await.as_deref() == Some("10")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_generations_are_removed() {
    let state = State::new();
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    let port = free_port();
    for version in 1..8 {
        assert_eq!(server.apply(&config(version, port, "x")).await.0.last(), Some(&Success));
    }
    let kept = std::fs::read_dir(state.path().join("gen")).unwrap().count();
    assert!(kept <= 4, "{kept} generations");
    agent.stop().await;
}
