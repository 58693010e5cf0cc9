//! The agent as a program.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::given::{State, nginx, served, until};

fn agent(server: &str, state: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_nxmesh-agent"))
        .args(["--server", server, "--token", "nxmesh_agent_test"])
        .arg("--state-dir")
        .arg(state)
        .arg("--nginx")
        .arg(nginx())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn terminate(mut agent: Child) -> ExitStatus {
    let pid = Pid::from_raw(agent.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    agent.wait().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_is_served_while_the_name_of_the_server_stands_for_nothing() {
    let state = State::new();
    let agent = agent("https://nobody.invalid:9090", &state.path());
    until("nginx", async || served(&state.path()).await.as_deref() == Some("0")).await;
    assert_eq!(terminate(agent).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_for_the_same_folder_is_refused_in_one_line() {
    let state = State::new();
    let first = agent("http://127.0.0.1:1", &state.path());
    until("nginx", async || served(&state.path()).await.is_some()).await;
    let second = agent("http://127.0.0.1:1", &state.path()).wait_with_output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!((second.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("another agent uses the state folder"), "{said}");
    assert_eq!(terminate(first).code(), Some(0));
}
