//! The database goes away under load, and comes back.

#![expect(clippy::unwrap_used, reason = "a lock that is poisoned fails the test")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use nxmesh_benches::{
    Load, NginxBinary, Proxy, SimulatedAgent, TestMesh, free_port, get, wait_for,
};
use nxmesh_core::{
    MergePatch,
    conformance::postgres::{Cluster, Database, Durability},
    gateway::AgentState,
    transport::grpc::GrpcConnector,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::{agent, confirmed};

/// How long the database is away.
const AWAY: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(30);
/// Within how long a stalled network must be noticed.
const NOTICED: Duration = Duration::from_secs(10);

/// A change of the one location, told apart by a header.
fn round(number: usize, backend: &str) -> Result<MergePatch> {
    let header = json!({"name": "X-Round", "value": number.to_string()});
    let location =
        json!({"path": "/", "proxy_pass": format!("http://{backend}"), "custom_headers": [header]});
    Ok(MergePatch::new(json!({"locations": [location]}))?)
}

/// Callers of every kind, and what became of their calls.
struct Callers {
    tasks: JoinSet<()>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    answered: AtomicUsize,
    unavailable: AtomicUsize,
    /// The last change that was answered.
    round: AtomicUsize,
    unexpected: Mutex<Vec<String>>,
}

impl Callers {
    fn start(mesh: &TestMesh, host: nxmesh_core::gateway::VirtualHostId) -> Self {
        let tally = Arc::new(Tally::default());
        let mut tasks = JoinSet::new();
        for reader in 0..4 {
            let (client, tally, id) = (mesh.client.clone(), Arc::clone(&tally), mesh.agent_id);
            tasks.spawn(async move {
                while !tally.stop.load(Ordering::Relaxed) {
                    match reader % 2 {
                        0 => tally.count(client.agents().get(id).await.map(|_| 0)),
                        _ => tally.count(client.virtual_hosts().get(host).await.map(|_| 0)),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        let (client, its_tally) = (mesh.client.clone(), Arc::clone(&tally));
        let backend = mesh.backend.address();
        tasks.spawn(async move {
            for number in 1.. {
                if its_tally.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(patch) = round(number, &backend) else { return };
                its_tally.count(client.virtual_hosts().update(host, &patch).await.map(|_| number));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { tasks, tally }
    }

    async fn stop(self) -> Arc<Tally> {
        self.tally.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.tally
    }
}

impl Tally {
    fn count(&self, done: Result<usize, nxmesh_client::Error>) {
        match done {
            Ok(round) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                self.round.fetch_max(round, Ordering::Relaxed);
            }
            Err(error) if error.to_string().contains("the database") => {
                self.unavailable.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.unexpected.lock().unwrap().push(error.to_string()),
        }
    }

    fn counts(&self) -> (usize, usize) {
        (self.answered.load(Ordering::Relaxed), self.unavailable.load(Ordering::Relaxed))
    }
}

/// Status and body of a path of the server, without the retries of the client.
async fn ask(mesh: &TestMesh, path: &str) -> Result<(u16, String)> {
    let answer =
        tokio::time::timeout(NOTICED, reqwest::get(format!("{}{path}", mesh.server.http())));
    let answer = answer.await.context("no answer within 10 s")??;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn check_away(mesh: &TestMesh) -> Result<()> {
    let (status, body) = ask(mesh, "/readyz").await?;
    let body: Value = serde_json::from_str(&body)?;
    assert_eq!((status, &body["error"]["code"]), (503, &"SERVICE_UNAVAILABLE".into()));
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the database"), "{message}");
    assert_eq!(ask(mesh, "/healthz").await?.0, 200, "the server itself is well");
    Ok(())
}

async fn fleet(mesh: &TestMesh) -> Result<Vec<SimulatedAgent>> {
    let mut fleet = Vec::new();
    for number in 0..10 {
        let token = mesh.client.agents().create_token(mesh.workspace, &agent(number)).await?;
        let connector = Arc::new(GrpcConnector::new(&mesh.server.grpc())?);
        fleet.push(SimulatedAgent::start(connector, token.token, None));
    }
    for agent in &fleet {
        wait_for("an agent to connect", PATIENCE, || async { agent.state().connected }).await?;
    }
    Ok(fleet)
}

async fn ready(mesh: &TestMesh) -> bool {
    ask(mesh, "/readyz").await.is_ok_and(|it| it.0 == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_stopped_under_load_is_told_and_all_recovers() -> Result<()> {
    let mut cluster = Cluster::start(Durability::Relaxed);
    let database = Database::create_on(cluster.url("postgres")).await;
    let mesh = TestMesh::start_on(&NginxBinary::packaged()?, database.url()).await?;
    let port = free_port();
    let host = mesh.serve(&mesh.host("busy.example", port)).await?;
    let fleet = fleet(&mesh).await?;
    let load = Load::fresh(4, port, "busy.example");
    let callers = Callers::start(&mesh, host.id);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, _) = callers.tally.counts();

    cluster.stop();
    wait_for("the server to say so", NOTICED, || async { !ready(&mesh).await }).await?;
    let (answered, _) = callers.tally.counts();
    check_away(&mesh).await?;
    tokio::time::sleep(AWAY).await;
    check_away(&mesh).await?;
    let (meanwhile, refused) = callers.tally.counts();
    assert_eq!(meanwhile, answered, "nothing is answered without a database");
    cluster.restart();
    let after = wait_for("the server to be ready again", PATIENCE, || ready(&mesh)).await?;

    tokio::time::sleep(Duration::from_secs(2)).await;
    let tally = callers.stop().await;
    let kept = mesh.client.virtual_hosts().get(host.id).await?;
    let stored: usize = kept.spec.locations[0].custom_headers[0].value.as_str().parse()?;
    let round = tally.round.load(Ordering::Relaxed);
    assert!(stored >= round, "round {round} was answered, but {stored} is stored");
    confirmed(&fleet, kept.revision.0).await?;
    let expected = format!("X-Round: {stored}\r\n");
    let served = || async {
        get(port, "busy.example", "/").await.is_ok_and(|(_, text)| text.contains(&expected))
    };
    wait_for("the last change on nginx", PATIENCE, served).await?;
    mesh.wait_for_state(AgentState::Online).await?;
    let (all, _) = tally.counts();
    let requests = load.stop().await;
    println!(
        "{before} calls answered before, {refused} refused while the database was away, {} after; ready {after:?} after it came back; nginx answered {} requests",
        all - meanwhile,
        requests.answers,
    );
    assert_eq!(requests.failures, Vec::<String>::new());
    assert_eq!(*tally.unexpected.lock().unwrap(), Vec::<String>::new());
    assert!(fleet.iter().all(|it| it.state().connections == 1), "an agent was cut off");
    assert!(refused > 0 && all > meanwhile);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_stalls_is_noticed_and_all_recovers() -> Result<()> {
    let cluster = Cluster::start(Durability::Relaxed);
    let database = Database::create_on(cluster.url("postgres")).await;
    let proxy = Proxy::start(&cluster.socket()).await?;
    let name = database.url().split(['/', '?']).nth(3).context("the URL names the database")?;
    let url = format!("postgres://nxmesh@{}/{name}", proxy.address());
    let mesh = TestMesh::start_on(&NginxBinary::packaged()?, &url).await?;
    let host = mesh.serve(&mesh.host("stalled.example", free_port())).await?;
    let fleet = fleet(&mesh).await?;
    for round_of_two in 0..2 {
        let callers = Callers::start(&mesh, host.id);
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.stall();
        // Each of these waits no longer than 10 s for its answer.
        check_away(&mesh).await?;
        let again = tokio::time::Instant::now();
        check_away(&mesh).await?;
        let again = again.elapsed();
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.resume();
        let after = wait_for("the server to be ready again", PATIENCE, || ready(&mesh)).await?;
        let tally = callers.stop().await;
        let (answered, refused) = tally.counts();
        println!(
            "stall {round_of_two}: {answered} calls answered, {refused} refused; once it was noticed, refusals took {again:?}; ready {after:?} after the network was"
        );
        assert_eq!(*tally.unexpected.lock().unwrap(), Vec::<String>::new());
        let changed = mesh
            .client
            .virtual_hosts()
            .update(host.id, &round(0, &mesh.backend.address())?)
            .await?;
        confirmed(&fleet, changed.revision.0).await?;
    }
    assert!(fleet.iter().all(|it| it.state().connections == 1), "an agent was cut off");
    Ok(())
}
