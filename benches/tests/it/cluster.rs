//! Several servers on one Postgres are one control plane.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use nxmesh_benches::{
    AgentProcess, NginxBinary, ServerProcess, SimulatedAgent, files_host, free_port, get, wait_for,
};
use nxmesh_client::Client;
use nxmesh_core::{
    Actor, IfMatch, MergePatch, Mesh, Secret,
    conformance::postgres::Database,
    gateway::{
        AgentId, AgentState, GatewayStore, NewLocation, NewRegistrationToken, NewRollout,
        NewVirtualHost, RolloutState, VirtualHostId, link::Connector,
    },
    store::postgres::{PostgresOptions, PostgresStore},
    tenancy::{MasterKey, NewOrganization, NewWorkspace, WorkspaceId},
    transport::{Failover, grpc::GrpcConnector, in_process::InProcessConnector},
};
use serde_json::json;
use tokio::time::Instant;

/// How many agents each server has.
const AGENTS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// A change of the one location, told apart by a header.
fn round(number: usize) -> Result<MergePatch> {
    let header = json!({"name": "X-Round", "value": number.to_string()});
    let location = json!({"path": "/", "root": "/srv", "custom_headers": [header]});
    Ok(MergePatch::new(json!({"locations": [location]}))?)
}

pub(crate) fn agent(number: usize) -> NewRegistrationToken {
    NewRegistrationToken {
        name: format!("agent {number}"),
        labels: Default::default(),
        expires_in_hours: 1,
    }
}

/// Waits until each of these agents runs this revision or a later one.
pub(crate) async fn confirmed<'a>(
    agents: impl IntoIterator<Item = &'a SimulatedAgent>,
    version: u64,
) -> Result<Duration> {
    let began = Instant::now();
    for agent in agents {
        let what = format!("revision {version} on an agent");
        wait_for(&what, PATIENCE, || async { agent.state().version >= version }).await?;
    }
    Ok(began.elapsed())
}

/// A control plane of two servers in this process.
pub(crate) struct Pair {
    pub(crate) servers: [Mesh; 2],
    agents: [Vec<(AgentId, SimulatedAgent)>; 2],
    pub(crate) actor: Actor,
    pub(crate) host: VirtualHostId,
    /// After the stores that use it.
    database: Database,
}

impl Pair {
    /// The second server listens to the first, or only polls.
    pub(crate) async fn start(listen: bool, agents: usize) -> Result<Self> {
        let database = Database::create().await;
        let key = MasterKey::generate();
        let mut options = PostgresOptions::default();
        let first = server(&database, options.clone(), &key).await?;
        options.listen = listen;
        let servers = [first, server(&database, options, &key).await?];
        let users = servers[0].tenancy().users();
        let actor = Actor::user(users.create("a@example.com", Secret::random_password()).await?.id);
        let workspace = workspace(&servers[0], &actor).await?;
        let mut fleets = [Vec::new(), Vec::new()];
        for (number, (server, fleet)) in servers.iter().zip(&mut fleets).enumerate() {
            for agent_number in 0..agents {
                let new = agent(number * agents + agent_number);
                // Made at the other server: what is on one is known to both.
                let elsewhere = servers[1 - number].gateway().agents();
                let token = elsewhere.create_token(&actor, workspace, new).await?;
                let connector = Arc::new(InProcessConnector::new(server.gateway().clone()));
                let simulated = SimulatedAgent::start(connector, token.token, None);
                fleet.push((token.agent_id, simulated));
            }
        }
        let hosts = servers[0].gateway().virtual_hosts();
        let made = hosts.create(&actor, workspace, files_host("first.example")).await?;
        let pair = Self { servers, agents: fleets, actor, host: made.id, database };
        confirmed(pair.all(), made.revision.0).await?;
        Ok(pair)
    }

    fn all(&self) -> impl Iterator<Item = &SimulatedAgent> {
        self.agents.iter().flatten().map(|(_, agent)| agent)
    }

    /// Changes the virtual host at a server; answers the revision.
    pub(crate) async fn change(&self, at: usize, number: usize) -> Result<u64> {
        let hosts = self.servers[at].gateway().virtual_hosts();
        let changed = hosts.update(&self.actor, self.host, &round(number)?, &IfMatch::Any).await?;
        Ok(changed.revision.0)
    }

    pub(crate) async fn end(self) {
        drop(self.agents);
        for server in self.servers {
            server.shutdown().await;
        }
    }
}

async fn server(database: &Database, options: PostgresOptions, key: &MasterKey) -> Result<Mesh> {
    let store = PostgresStore::open_with(database.url(), options).await?;
    let heartbeat = Duration::from_secs(1);
    let mesh = Mesh::builder().store(store).master_key(key.clone()).heartbeat_interval(heartbeat);
    Ok(mesh.build().await?)
}

async fn workspace(server: &Mesh, actor: &Actor) -> Result<WorkspaceId> {
    let organization = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = server.tenancy().organizations().create(actor, organization).await?;
    let new =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    Ok(server.tenancy().workspaces().create(actor, organization.id, new).await?.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_either_server_reaches_the_agents_of_both() -> Result<()> {
    let pair = Pair::start(true, AGENTS).await?;
    let mut longest = Duration::ZERO;
    for number in 0..20 {
        let version = pair.change(number % 2, number).await?;
        longest = longest.max(confirmed(pair.all(), version).await?);
    }
    println!("20 changes, each on all {} agents after {longest:?} at most", 2 * AGENTS);
    pair.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_both_servers_at_once_all_count() -> Result<()> {
    let pair = Pair::start(true, 2).await?;
    let workspace = {
        let hosts = pair.servers[0].gateway().virtual_hosts();
        hosts.get(&pair.actor, pair.host).await?.workspace_id
    };
    let creates = (0..100).map(|number| {
        let hosts = pair.servers[number % 2].gateway().virtual_hosts();
        let new = files_host(&format!("host{number}.example"));
        let actor = pair.actor.clone();
        async move { hosts.create(&actor, workspace, new).await }
    });
    let made = futures::future::try_join_all(creates).await?;
    let last = made.iter().map(|it| it.revision.0).max().context("some were made")?;
    let mut revisions: Vec<_> = made.iter().map(|it| it.revision.0).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 100, "each change is a revision of its own");
    confirmed(pair.all(), last).await?;
    pair.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_carried_out_wherever_the_agent_is() -> Result<()> {
    let pair = Pair::start(true, 2).await?;
    for asked in [0, 1] {
        let agents = pair.servers[asked].gateway().agents();
        for (id, simulated) in &pair.agents[1 - asked] {
            let outcome = agents.reload(&pair.actor, *id).await?;
            assert!(outcome.success);
            assert_eq!((outcome.message.as_str(), simulated.state().commands), ("simulated", 1));
        }
    }
    // Many at once: each is answered.
    let agents = pair.servers[0].gateway().agents();
    let (far, simulated) = &pair.agents[1][0];
    let many = futures::future::try_join_all((0..8).map(|_| agents.reload(&pair.actor, *far)));
    assert!(many.await?.iter().all(|it| it.success));
    assert_eq!(simulated.state().commands, 9);
    pair.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_show_the_same_state_of_every_agent() -> Result<()> {
    let mut pair = Pair::start(true, 2).await?;
    let states = async |pair: &Pair, id: AgentId| {
        let [first, second] = [0, 1].map(|it| pair.servers[it].gateway().agents());
        let both =
            futures::future::try_join(first.get(&pair.actor, id), second.get(&pair.actor, id));
        both.await.map(|(first, second)| [first.state, second.state])
    };
    let ids: Vec<_> = pair.agents.iter().flatten().map(|(id, _)| *id).collect();
    for id in &ids {
        assert_eq!(states(&pair, *id).await?, [AgentState::Online; 2]);
    }
    let (gone, agent) = pair.agents[1].remove(0);
    drop(agent);
    let offline =
        || async { states(&pair, gone).await.is_ok_and(|it| it == [AgentState::Offline; 2]) };
    wait_for("the agent to be offline at both servers", PATIENCE, offline).await?;
    let agents = pair.servers[0].gateway().agents();
    let error = agents.reload(&pair.actor, gone).await.unwrap_err();
    assert_eq!(error.to_string(), "the agent is not connected");
    agents.delete(&pair.actor, pair.agents[1][0].0, &IfMatch::Any).await?;
    let (_, deleted) = &pair.agents[1][0];
    wait_for("the end of a deleted agent's connection", PATIENCE, || async {
        !deleted.state().connected
    })
    .await?;
    pair.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notification_delays_a_change_by_the_poll_at_most() -> Result<()> {
    let pair = Pair::start(false, 2).await?;
    let mut delays = Vec::new();
    for number in 0..6 {
        let version = pair.change(0, number).await?;
        delays.push(confirmed(pair.all(), version).await?);
    }
    let asked = Instant::now();
    let agents = pair.servers[0].gateway().agents();
    let outcome = agents.reload(&pair.actor, pair.agents[1][0].0).await?;
    assert!(outcome.success);
    println!(
        "without any notification: changes after {delays:?}, a command after {:?}",
        asked.elapsed()
    );
    let store = PostgresStore::open(pair.database.url()).await?;
    assert!(store.poll_interval().is_some_and(|it| it <= Duration::from_secs(2)));
    pair.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_reaches_the_agents_of_a_server_that_hears_nothing() -> Result<()> {
    let pair = Pair::start(false, 2).await?;
    let [first, _] = &pair.servers;
    let workspace = {
        let hosts = first.gateway().virtual_hosts();
        hosts.get(&pair.actor, pair.host).await?.workspace_id
    };
    let staged = MergePatch::new(json!({"settings": {"delivery": "staged"}}))?;
    let workspaces = first.tenancy().workspaces();
    workspaces.update(&pair.actor, workspace, &staged, &IfMatch::Any).await?;
    for number in 0..3 {
        let version = pair.change(0, number).await?;
        assert!(pair.all().all(|agent| agent.state().version < version), "it waits");
        let new = NewRollout { message: "test".into(), ..NewRollout::default() };
        let rollouts = first.gateway().rollouts();
        let id = rollouts.start(&pair.actor, workspace, new).await?.id;
        confirmed(pair.all(), version).await?;
        let over = || async {
            let now = rollouts.get(&pair.actor, id).await;
            now.is_ok_and(|it| it.state == RolloutState::Completed)
        };
        wait_for("the rollout to be completed", PATIENCE, over).await?;
    }
    pair.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_listening_is_cut_off_hears_again() -> Result<()> {
    let pair = Pair::start(true, 1).await?;
    for number in 0..3 {
        let cut = pair.database.cut_off_all().await;
        // Calls that come just then may fail; afterwards all goes on.
        let changed = || async { pair.change(0, number).await.is_ok() };
        wait_for("a change that is answered", PATIENCE, changed).await?;
        let version = pair.change(0, 100 + number).await?;
        let after = confirmed(pair.all(), version).await?;
        println!("{cut} connections were cut off; the next change arrived after {after:?}");
    }
    pair.end().await;
    Ok(())
}

/// Two servers as programs, agents that know both, and their end.
#[tokio::test(flavor = "multi_thread")]
async fn agents_of_a_server_that_is_killed_go_on_at_the_other() -> Result<()> {
    let database = Database::create().await;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let mut first = ServerProcess::start_on(&path("first"), database.url()).await?;
    let second = ServerProcess::start_on(&path("second"), database.url()).await?;
    let clients = [first.client().await?, second.client().await?];
    let (workspace, host) = made(&clients[0]).await?;
    let agents = connect(&clients[1], workspace, &[&first, &second]).await?;
    let all = || agents.iter().map(|(_, it)| it);
    let made = clients[1].virtual_hosts().get(host).await?;
    confirmed(all(), made.revision.0).await?;

    // Changes at both while the first one dies; those that were answered count.
    let mut answered = (0, 0);
    for number in 1..=60 {
        if number == 20 {
            first.process().kill().await?;
        }
        if let Ok(changed) = clients[number % 2].virtual_hosts().update(host, &round(number)?).await
        {
            answered = (number, changed.revision.0);
        }
        if number == 40 {
            first.restart().await?;
        }
    }
    let kept = clients[1].virtual_hosts().get(host).await?;
    let header = kept.spec.locations[0].custom_headers[0].value.as_str();
    assert!(header.parse::<usize>()? >= answered.0, "an answered change is lost");
    let took = tokio::time::timeout(Duration::from_secs(10), confirmed(all(), answered.1));
    let took = took.await.context("not all agents converged within 10 s")??;
    let moved = all().filter(|it| it.state().connections > 1).count();
    println!(
        "{moved} of {} agents changed servers; all converged {took:?} after the last change",
        agents.len()
    );
    assert!(moved > 0, "nobody was at the server that died");

    // The server that came back is as good as the other: commands, states, changes.
    for (id, _) in &agents {
        let online = || async {
            clients[0].agents().get(*id).await.is_ok_and(|it| it.state == AgentState::Online)
        };
        wait_for("the agent to be online", PATIENCE, online).await?;
        assert!(clients[0].agents().reload(*id).await?.success);
    }
    Ok(())
}

async fn made(client: &Client) -> Result<(WorkspaceId, VirtualHostId)> {
    let organization = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = client.organizations().create(&organization).await?;
    let new =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    let workspace = client.workspaces().create(organization.id, &new).await?.id;
    let host = client.virtual_hosts().create(workspace, &files_host("first.example")).await?;
    Ok((workspace, host.id))
}

/// Agents that know all of these servers; half of them begin at each, by chance.
async fn connect(
    client: &Client,
    workspace: WorkspaceId,
    servers: &[&ServerProcess],
) -> Result<Vec<(AgentId, SimulatedAgent)>> {
    let mut agents = Vec::new();
    for number in 0..AGENTS * servers.len() {
        let token = client.agents().create_token(workspace, &agent(number)).await?;
        let mut connectors: Vec<Arc<dyn Connector>> = Vec::new();
        for server in servers {
            connectors.push(Arc::new(GrpcConnector::new(&server.grpc())?));
        }
        let failover = Arc::new(Failover::new(connectors)?);
        agents.push((token.agent_id, SimulatedAgent::start(failover, token.token, None)));
    }
    Ok(agents)
}

/// The agent as a program, with its nginx and both servers in `--server`.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_program_goes_from_server_to_server() -> Result<()> {
    let database = Database::create().await;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let mut servers = [
        ServerProcess::start_on(&path("first"), database.url()).await?,
        ServerProcess::start_on(&path("second"), database.url()).await?,
    ];
    let clients = [servers[0].client().await?, servers[1].client().await?];
    let (workspace, _) = made(&clients[0]).await?;
    let token = clients[0].agents().create_token(workspace, &agent(0)).await?.token;
    let both = format!("{},{}", servers[0].grpc(), servers[1].grpc());
    let nginx = NginxBinary::packaged()?;
    let _agent = AgentProcess::start(&path("agent"), &both, token.expose(), &nginx)?;
    // Wherever it begins, one of these takes its server away.
    for (number, gone) in [0, 1, 0].into_iter().enumerate() {
        servers[gone].process().kill().await?;
        let (port, name) = (free_port(), format!("round{number}.example"));
        let location = NewLocation {
            path: "/".into(),
            root: Some(folder.path().display().to_string()),
            ..NewLocation::default()
        };
        let new = NewVirtualHost {
            listen_port: port.into(),
            locations: vec![location],
            ..files_host(&name)
        };
        clients[1 - gone].virtual_hosts().create(workspace, &new).await?;
        // nginx itself says that there is no such file: it serves the new virtual host.
        let served = || async { get(port, &name, "/none").await.is_ok_and(|it| it.0 == 404) };
        let after = wait_for("the new virtual host", PATIENCE, served).await?;
        println!("served {after:?} after a change at the server that is left");
        servers[gone].restart().await?;
    }
    Ok(())
}
