//! What is reported is what nginx serves, however it comes to it.

use std::{
    fs,
    path::PathBuf,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nxmesh_core::gateway::link::ApplyStatus::{RolledBack, Success};
use rustix::process::{Pid, Signal, kill_process};

use crate::given::{Fleet, State, served, start, until, workers_in};

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Does something `after` an apply has switched the link, and told nginx to load.
fn while_loading(
    state: PathBuf,
    after: Duration,
    what: impl FnOnce() + Send + 'static,
) -> JoinHandle<()> {
    let before = fs::read_link(state.join("current")).unwrap();
    thread::spawn(move || {
        let began = Instant::now();
        while fs::read_link(state.join("current")).unwrap() == before {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing is switched");
            thread::sleep(Duration::from_micros(100));
        }
        thread::sleep(after);
        what();
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_meanwhile_does_not_undo_a_reload() {
    let (state, fleet) = (State::new(), Fleet::new(1500));
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&fleet.config(1)).await.0.last(), Some(&Success));
    let master = agent.nginx_pid();
    for version in 2..6 {
        // The master hears of the dead worker and of the reload in one: it tells the one first.
        let worker = workers_in(&state.path())[0];
        signal(master, Signal::STOP);
        let killing = while_loading(state.path(), Duration::from_millis(50), move || {
            signal(worker, Signal::KILL);
            signal(master, Signal::CONT);
        });
        let (steps, reason) = server.apply(&fleet.config(version)).await;
        killing.join().unwrap();
        assert_eq!(steps.last(), Some(&Success), "{reason}");
        // Until the workers of before are gone.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(served(&state.path()).await, Some(version.to_string()));
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_loads_too_late_does_not_stay_with_what_was_rolled_back() {
    let (state, fleet) = (State::new(), Fleet::new(1500));
    let mut agent = start(&state.path());
    let (mut server, _) = agent.accept().await;
    assert_eq!(server.apply(&fleet.config(1)).await.0.last(), Some(&Success));
    let master = agent.nginx_pid();
    let stopping = while_loading(state.path(), Duration::from_millis(30), move || {
        signal(master, Signal::STOP);
    });
    let (steps, reason) = server.apply(&fleet.config(2)).await;
    stopping.join().unwrap();
    signal(master, Signal::CONT);
    assert_eq!(steps.last(), Some(&RolledBack), "{reason}");
    // It may first come to the second, whose files it had read.
    tokio::time::sleep(Duration::from_secs(1)).await;
    until("the first", async || served(&state.path()).await.as_deref() == Some("1")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(served(&state.path()).await.as_deref(), Some("1"));
    agent.stop().await;
}
