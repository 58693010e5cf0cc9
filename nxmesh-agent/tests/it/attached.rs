//! An nginx that somebody else starts and stops: here the test.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nxmesh_agent::{AgentSettings, Mode};
use nxmesh_core::gateway::link::{
    AgentMessage,
    ApplyStatus::{Failed, Success},
    CommandAction,
};
use rustix::process::Signal;

use crate::{
    commands::order,
    given::{
        Played, Running, State, answered, config, free_port, nginx, settings, signal, start_as,
        until, workers,
    },
};

/// nginx as systemd would start it, in the foreground; it ends with this.
struct Started(Child);

impl Started {
    async fn of(state: &Path) -> Self {
        let config = state.join("current/nginx.conf");
        until("something to start nginx with", async || config.is_file()).await;
        let mut nginx = Command::new(nginx());
        nginx.arg("-c").arg(config).args(["-g", "daemon off;"]).stderr(Stdio::null());
        Self(nginx.spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    /// Master and workers at once, as when a machine is short of memory.
    fn kill(&mut self) {
        let workers = workers(self.pid());
        // First the one who would start others in their place.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        for worker in workers {
            signal(worker, Signal::KILL);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|it| it.is_none()) {
            signal(self.pid(), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

fn attach(state: &State, pid_file: Option<PathBuf>) -> Running {
    start_as(&state.path(), AgentSettings { mode: Mode::Attached, pid_file, ..settings() })
}

async fn alert(server: &mut Played) -> String {
    let alert = |message| match message {
        AgentMessage::Health(report) => {
            // A machine that is busy with tests is told of too.
            let mut all = report.alerts.into_iter().map(|it| it.message);
            all.find(|it| it.contains("nginx"))
        }
        _ => None,
    };
    server.find(alert).await
}

async fn proven(server: &mut Played, checksum: &str) {
    server
        .find(|message| match message {
            AgentMessage::Health(it) => (it.config_checksum == checksum).then_some(()),
            _ => None,
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_what_to_load_and_never_started_nor_stopped() {
    let (state, port) = (State::new(), free_port());
    let mut agent = attach(&state, None);
    let (mut server, _) = agent.accept().await;
    assert!(alert(&mut server).await.contains("somebody else has to start it"));
    let started = Started::of(&state.path()).await;
    // It begins with nothing, and is proven to.
    until("nginx", async || crate::given::served(&state.path()).await.is_some()).await;
    assert_eq!(server.apply_last(&config(1, port, "one")).await, Success);
    assert_eq!(answered(port).await.as_deref(), Some("one"));
    for action in [
        CommandAction::Restart { force: false },
        CommandAction::Restart { force: true },
        CommandAction::Reload { graceful: false },
        CommandAction::Stop { graceful: true, timeout: Duration::from_secs(1) },
    ] {
        let (success, message) = order(&mut server, action).await;
        assert!(success == "false" && message.contains("attached"), "{message}");
    }
    assert_eq!(order(&mut server, CommandAction::Reload { graceful: true }).await.0, "true");
    agent.stop().await;
    assert_eq!(answered(port).await.as_deref(), Some("one"));
    drop(started);
    assert_eq!(answered(port).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_taken_over_without_a_reload_also_when_the_same_is_sent_again() {
    let (state, port) = (State::new(), free_port());
    let mut agent = attach(&state, None);
    let (mut server, _) = agent.accept().await;
    let started = Started::of(&state.path()).await;
    assert_eq!(until_served(&mut server, port).await, Success);
    let before = workers(started.pid());
    agent.kill().await;
    let mut agent = attach(&state, None);
    let (mut server, registration) = agent.accept().await;
    assert_eq!(registration.config_checksum, "sum1");
    assert_eq!(server.apply(&config(1, port, "one")).await.0, [Success]);
    // Those of before the first apply may have ended; none is new.
    let now = workers(started.pid());
    assert!(!now.is_empty() && now.iter().all(|it| before.contains(it)), "{before:?} {now:?}");
    agent.stop().await;
}

/// Sends the first configuration until nginx, which may be about to start, serves it.
async fn until_served(server: &mut Played, port: u16) -> nxmesh_core::gateway::link::ApplyStatus {
    loop {
        let status = server.apply_last(&config(1, port, "one")).await;
        if status == Success {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_nginx_is_away_is_ready_when_it_comes_back() {
    let (state, port) = (State::new(), free_port());
    let mut agent = attach(&state, None);
    let (mut server, _) = agent.accept().await;
    let mut started = Started::of(&state.path()).await;
    assert_eq!(until_served(&mut server, port).await, Success);
    // What was never said to run is not missed.
    server
        .find(|message| match message {
            AgentMessage::Health(it) => it.nginx.is_running.then_some(()),
            _ => None,
        })
        .await;
    started.kill();
    assert!(alert(&mut server).await.contains("somebody else has to start it"));
    for _ in 0..3 {
        let (steps, reason) = server.apply(&config(2, port, "two")).await;
        assert_eq!(steps.last(), Some(&Failed));
        assert!(reason.contains("somebody else has to start it"), "{reason}");
    }
    let folders = || std::fs::read_dir(state.path().join("gen")).unwrap().count();
    assert!(folders() <= 4, "each try left a folder behind");
    // What was killed left its socket, and a new nginx would not start with it there.
    let socket = state.path().join("run/status.sock");
    until("the socket to be removed", async || !socket.exists()).await;
    let _started = Started::of(&state.path()).await;
    proven(&mut server, "sum2").await;
    assert_eq!(answered(port).await.as_deref(), Some("two"));
    assert_eq!(server.apply(&config(2, port, "two")).await.0, [Success]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_pid_file_may_be_elsewhere() {
    let (state, port) = (State::new(), free_port());
    let elsewhere = tempfile::tempdir().unwrap();
    let pid_file = elsewhere.path().join("nginx.pid");
    let mut agent = attach(&state, Some(pid_file.clone()));
    let (mut server, _) = agent.accept().await;
    let started = Started::of(&state.path()).await;
    assert_eq!(until_served(&mut server, port).await, Success);
    let written = std::fs::read_to_string(pid_file).unwrap();
    assert_eq!(written.trim(), started.pid().to_string());
    assert!(!state.path().join("run/nginx.pid").exists());
    agent.stop().await;
}
