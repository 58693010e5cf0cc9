//! Rollouts of simulated fleets: waves, soak, gates, and servers that die meanwhile.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use nxmesh_benches::{ServerProcess, SimulatedAgent, files_host, wait_for};
use nxmesh_core::{
    Actor, IfMatch, MergePatch, Mesh, Secret,
    conformance::postgres::Database,
    events::EventId,
    gateway::{
        AgentId, AgentQuery, NewGates, NewRollout, NewVirtualHost, NewWave, Rollout, RolloutState,
        VirtualHostId, WaveState, link::Connector,
    },
    store::Stores,
    store::memory::MemoryStore,
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
    transport::{Failover, grpc::GrpcConnector, in_process::InProcessConnector},
};
use serde_json::json;

use crate::cluster::agent;

const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane in this process, and its agents.
struct Fleet {
    mesh: Mesh,
    stores: Stores,
    actor: Actor,
    workspace: WorkspaceId,
    host: VirtualHostId,
    agents: Vec<(AgentId, SimulatedAgent)>,
    /// What is released.
    released: u64,
}

impl Fleet {
    async fn start(agents: usize) -> Result<Self> {
        let stores = Stores::from(MemoryStore::new());
        let mesh = Mesh::builder().store(stores.clone());
        let mesh = mesh.heartbeat_interval(Duration::from_secs(1)).build().await?;
        let users = mesh.tenancy().users();
        let actor = Actor::user(users.create("a@example.com", Secret::random_password()).await?.id);
        let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
        let organization = mesh.tenancy().organizations().create(&actor, new).await?;
        let new =
            NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
        let workspaces = mesh.tenancy().workspaces();
        let workspace = workspaces.create(&actor, organization.id, new).await?.id;
        let mut fleet = Vec::new();
        for number in 0..agents {
            let token =
                mesh.gateway().agents().create_token(&actor, workspace, agent(number)).await?;
            let connector = Arc::new(InProcessConnector::new(mesh.gateway().clone()));
            fleet.push((token.agent_id, SimulatedAgent::start(connector, token.token, None)));
        }
        let hosts = mesh.gateway().virtual_hosts();
        let host = hosts.create(&actor, workspace, files_host("first.example")).await?.id;
        // Agents see a change in it: all of them are sent just this revision.
        let directives = json!({"charset": "utf-8"});
        let settings = json!({"delivery": "staged", "nginx_directives": directives});
        let staged = MergePatch::new(json!({"settings": settings}))?;
        let released =
            workspaces.update(&actor, workspace, &staged, &IfMatch::Any).await?.revision.0;
        let it = Self { mesh, stores, actor, workspace, host, agents: fleet, released };
        it.converged().await?;
        Ok(it)
    }

    /// Waits until all agents serve what they should.
    async fn converged(&self) -> Result<()> {
        let lagging = || async {
            let which = AgentQuery { lagging: Some(true), ..AgentQuery::default() };
            let agents = self.mesh.gateway().agents();
            let page = agents.list(&self.actor, self.workspace, which, Default::default()).await;
            page.is_ok_and(|it| it.meta.total == 0)
        };
        wait_for("all agents to converge", PATIENCE, lagging).await?;
        Ok(())
    }

    /// Waits until all agents are on what is released: also who was about to take what no longer
    /// is, which the control plane does not know yet.
    async fn all_back(&self) -> Result<()> {
        self.converged().await?;
        let back = || async { self.on(self.released).len() == self.agents.len() };
        wait_for("all agents to be back on what is released", PATIENCE, back).await?;
        Ok(())
    }

    /// Changes the virtual host; answers the revision.
    async fn change(&self, to: &str) -> Result<u64> {
        let hosts = self.mesh.gateway().virtual_hosts();
        let patch = MergePatch::new(json!({"server_name": to}))?;
        Ok(hosts.update(&self.actor, self.host, &patch, &IfMatch::Any).await?.revision.0)
    }

    async fn roll_out(&self, waves: Vec<NewWave>) -> Result<Rollout> {
        self.roll_out_with(waves, NewGates::default()).await
    }

    async fn roll_out_with(&self, waves: Vec<NewWave>, gates: NewGates) -> Result<Rollout> {
        let new = NewRollout { waves, gates, message: "test".into(), revision: None };
        Ok(self.mesh.gateway().rollouts().start(&self.actor, self.workspace, new).await?)
    }

    async fn get(&self, of: &Rollout) -> Result<Rollout> {
        Ok(self.mesh.gateway().rollouts().get(&self.actor, of.id).await?)
    }

    /// Waits until it is in this state.
    async fn until(&self, of: &Rollout, state: RolloutState) -> Result<Rollout> {
        let what = format!("the rollout to be {state:?}");
        let so = || async { self.get(of).await.is_ok_and(|it| it.state == state) };
        wait_for(&what, PATIENCE, so).await?;
        self.get(of).await
    }

    /// Which agents serve this revision.
    fn on(&self, revision: u64) -> BTreeSet<AgentId> {
        let on = self.agents.iter().filter(|(_, it)| it.state().version == revision);
        on.map(|(id, _)| *id).collect()
    }

    fn simulated(&self, id: AgentId) -> Result<&SimulatedAgent> {
        let found = self.agents.iter().find(|(it, _)| *it == id);
        Ok(&found.context("such an agent")?.1)
    }

    /// What was told of rollouts.
    async fn told(&self) -> Result<Vec<String>> {
        let events = self.stores.events.events_after(EventId(0), 10_000).await?;
        let types = events.into_iter().map(|it| it.event.event_type);
        let rollouts = types.filter(|it| it.subject() == "rollout");
        Ok(rollouts.map(|it| it.as_str().replace("rollout.", "")).collect())
    }

    async fn end(self) {
        drop(self.agents);
        self.mesh.shutdown().await;
    }
}

fn percent(percent: u64, soak_seconds: u64) -> NewWave {
    NewWave { percent: Some(percent), soak_seconds, ..NewWave::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_goes_out_wave_by_wave_and_each_soaks() -> Result<()> {
    let fleet = Fleet::start(10).await?;
    let revision = fleet.change("second.example").await?;
    assert_eq!(fleet.on(revision).len(), 0, "a change waits for its rollout");
    let rollout = fleet.roll_out(vec![percent(10, 2), percent(50, 1)]).await?;
    let canary: BTreeSet<_> = rollout.waves[0].members.iter().flatten().copied().collect();
    assert_eq!(canary.len(), 1);
    // As long as the first wave is under way nobody else has the revision.
    loop {
        let on = fleet.on(revision);
        let now = fleet.get(&rollout).await?;
        if now.waves[1].state != WaveState::Waiting {
            break;
        }
        assert!(on.is_subset(&canary), "{on:?} beside {canary:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let done = fleet.until(&rollout, RolloutState::Completed).await?;
    fleet.converged().await?;
    assert_eq!(fleet.on(revision).len(), 10);
    let [first, second, rest] = done.waves.as_slice() else { panic!("{done:?}") };
    assert_eq!([first, second, rest].map(|it| it.figures.agents), [1, 5, 4]);
    for (wave, later) in [(first, second), (second, rest)] {
        let since = wave.soaking_since.context("it soaked")?;
        let soaked = later.started_at.context("it was started")? - since;
        assert!(soaked.num_seconds() >= i64::try_from(wave.soak_seconds)?, "{soaked}");
        assert_eq!(wave.figures.verified, wave.figures.agents);
    }
    let wave = ["wave_started", "wave_finished"];
    let wanted = [&["started"][..], &wave, &wave, &wave, &["completed"]].concat();
    assert_eq!(fleet.told().await?, wanted);
    // What was released is where the next one begins.
    let next = fleet.change("third.example").await?;
    let again = fleet.roll_out(vec![percent(1, 600)]).await?;
    assert_eq!((again.released.0, again.revision.0), (revision, next));
    fleet.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_serve_it_halts_the_rollout_and_all_go_back() -> Result<()> {
    let fleet = Fleet::start(8).await?;
    let revision = fleet.change("bad.example").await?;
    // All that the second wave has refuse it; the first wave is well.
    let first: Vec<_> = fleet.agents.iter().take(3).map(|(id, _)| id.to_string()).collect();
    for (_, agent) in fleet.agents.iter().skip(3) {
        agent.conduct(|it| it.refuses = Some(revision));
    }
    let canary = NewWave { agent_ids: Some(first), ..NewWave::default() };
    let rollout = fleet.roll_out(vec![canary, percent(40, 600)]).await?;
    let halted = fleet.until(&rollout, RolloutState::Halted).await?;
    let reason = halted.reason.context("a reason")?;
    assert!(reason.starts_with("max_failed_applies: "), "{reason}");
    assert!(reason.contains("nginx: [emerg] simulated"), "{reason}");
    assert_eq!(halted.waves[0].state, WaveState::TakenBack);
    assert_eq!(halted.waves[2].state, WaveState::Waiting);
    fleet.all_back().await?;
    assert_eq!(fleet.told().await?.last().map(String::as_str), Some("halted"));
    // Mended, it goes through.
    let mended = fleet.change("good.example").await?;
    let rollout = fleet.roll_out(vec![percent(50, 0)]).await?;
    fleet.until(&rollout, RolloutState::Completed).await?;
    fleet.converged().await?;
    assert_eq!(fleet.on(mended).len(), 8);
    fleet.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_neither_serves_it_nor_fails_halts_the_rollout_at_its_deadline() -> Result<()>
{
    let fleet = Fleet::start(4).await?;
    let (stuck, agent) = &fleet.agents[0];
    agent.conduct(|it| it.apply_takes = Duration::from_secs(3600));
    let revision = fleet.change("second.example").await?;
    let wave = NewWave { agent_ids: Some(vec![stuck.to_string()]), ..NewWave::default() };
    let gates = NewGates { deadline_seconds: 2, ..NewGates::default() };
    let rollout = fleet.roll_out_with(vec![wave], gates).await?;
    let halted = fleet.until(&rollout, RolloutState::Halted).await?;
    assert_eq!(
        halted.reason.context("a reason")?,
        format!(
            "deadline_seconds: 1 agents are not proven to serve revision {revision}, and \
             for 2 seconds no other agent of the wave got there; agent 0"
        )
    );
    assert_eq!(halted.waves[0].state, WaveState::TakenBack);
    assert_eq!(halted.waves[1].state, WaveState::Waiting);
    // What it was sent is under way. When it comes to that at last, it goes back too.
    agent.conduct(|it| it.apply_takes = Duration::ZERO);
    fleet.all_back().await?;
    assert_eq!(fleet.told().await?, ["started", "wave_started", "halted"]);
    fleet.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_fail_as_they_did_not_before_halt_the_rollout() -> Result<()> {
    let fleet = Fleet::start(4).await?;
    // One in ten fails as it always has.
    for (_, agent) in &fleet.agents {
        agent.conduct(|it| (it.requests, it.responses_5xx) = (1000, 100));
    }
    let known = || async {
        let mut known = true;
        for (id, _) in &fleet.agents {
            let agent = fleet.mesh.gateway().agents().get(&fleet.actor, *id).await;
            let health = agent.ok().and_then(|it| it.health);
            known &= health.is_some_and(|it| it.requests == Some(1000));
        }
        known
    };
    wait_for("the figures to be known", PATIENCE, known).await?;
    fleet.change("second.example").await?;
    let rollout = fleet.roll_out(vec![percent(25, 600)]).await?;
    let canary = rollout.waves[0].members.iter().flatten().copied().next().context("a canary")?;
    let soaking = || async {
        fleet.get(&rollout).await.is_ok_and(|it| it.waves[0].state == WaveState::Soaking)
    };
    wait_for("the wave to soak", PATIENCE, soaking).await?;
    // The same share as before is no reason to halt.
    fleet.simulated(canary)?.conduct(|it| (it.requests, it.responses_5xx) = (2000, 200));
    let judged = || async {
        let figures = fleet.get(&rollout).await.map(|it| it.waves[0].figures.clone());
        figures
            .is_ok_and(|it| it.new_5xx_percent == Some(0.0) && it.answered_since.requests == 1000)
    };
    wait_for("the answers to be counted", PATIENCE, judged).await?;
    // Those that are not in the wave do not count either.
    let other = fleet.agents.iter().find(|(id, _)| *id != canary).context("another")?;
    other.1.conduct(|it| (it.requests, it.responses_5xx) = (9000, 9000));
    fleet.simulated(canary)?.conduct(|it| (it.requests, it.responses_5xx) = (3000, 500));
    let halted = fleet.until(&rollout, RolloutState::Halted).await?;
    let reason = halted.reason.context("a reason")?;
    assert!(reason.starts_with("max_5xx_percent: 400 of 2000 answers"), "{reason}");
    assert!(reason.contains("100 of 1000 had before: 10.0 % more"), "{reason}");
    fleet.all_back().await?;
    fleet.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_paused_resumed_and_aborted_and_the_absent_hold_nothing_up() -> Result<()> {
    let fleet = Fleet::start(4).await?;
    let (away, absent) = &fleet.agents[3];
    absent.conduct(|it| it.away = true);
    let gone = || async { !absent.state().connected };
    wait_for("one to go", PATIENCE, gone).await?;
    let revision = fleet.change("second.example").await?;
    let ids = |range: std::ops::Range<usize>| {
        let ids = fleet.agents[range].iter().map(|(id, _)| id.to_string()).collect();
        NewWave { agent_ids: Some(ids), ..NewWave::default() }
    };
    let rollout = fleet
        .roll_out(vec![
            NewWave { soak_seconds: 1, ..ids(0..1) },
            NewWave { soak_seconds: 600, ..ids(1..4) },
        ])
        .await?;
    fleet.mesh.gateway().rollouts().pause(&fleet.actor, rollout.id).await?;
    let first = BTreeSet::from([fleet.agents[0].0]);
    wait_for("the first to have it", PATIENCE, || async { fleet.on(revision) == first }).await?;
    // Longer than it takes to look, and to soak: nothing happens.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let paused = fleet.get(&rollout).await?;
    assert_eq!((paused.state, paused.waves[1].state), (RolloutState::Paused, WaveState::Waiting));
    assert_eq!((fleet.on(revision), paused.waves[0].figures.verified), (first, 1));
    fleet.mesh.gateway().rollouts().resume(&fleet.actor, rollout.id).await?;
    let soaking = || async {
        fleet.get(&rollout).await.is_ok_and(|it| it.waves[1].state == WaveState::Soaking)
    };
    wait_for("the second wave to soak without the absent", PATIENCE, soaking).await?;
    let now = fleet.get(&rollout).await?;
    let figures = &now.waves[1].figures;
    assert_eq!((figures.agents, figures.verified, figures.offline), (3, 2, 1));
    // It gets what is right for its wave when it is back.
    absent.conduct(|it| it.away = false);
    let back = || async { fleet.on(revision).contains(away) };
    wait_for("the absent to have it", PATIENCE, back).await?;
    let aborted = fleet.mesh.gateway().rollouts().abort(&fleet.actor, rollout.id).await?;
    assert_eq!(aborted.state, RolloutState::Aborted);
    fleet.all_back().await?;
    let told = fleet.told().await?;
    assert!(
        told.starts_with(&["started", "wave_started", "paused", "resumed"].map(str::to_owned)),
        "{told:?}"
    );
    assert_eq!(told.last().map(String::as_str), Some("aborted"));
    fleet.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_goes_on_when_one_dies_in_the_middle_of_a_wave() -> Result<()> {
    const AGENTS: usize = 8;
    let database = Database::create().await;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let mut servers = [
        ServerProcess::start_on(&path("first"), database.url()).await?,
        ServerProcess::start_on(&path("second"), database.url()).await?,
    ];
    let clients = [servers[0].client().await?, servers[1].client().await?];
    let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
    let organization = clients[0].organizations().create(&new).await?;
    let new =
        NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
    let workspace = clients[0].workspaces().create(organization.id, &new).await?.id;
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let token = clients[0].agents().create_token(workspace, &agent(number)).await?;
        let mut connectors: Vec<Arc<dyn Connector>> = Vec::new();
        for server in &servers {
            connectors.push(Arc::new(GrpcConnector::new(&server.grpc())?));
        }
        let failover = Arc::new(Failover::new(connectors)?);
        agents.push((token.agent_id, SimulatedAgent::start(failover, token.token, None)));
    }
    let staged = MergePatch::new(json!({"settings": {"delivery": "staged"}}))?;
    clients[0].workspaces().update(workspace, &staged).await?;
    let new: NewVirtualHost = files_host("first.example");
    let revision = clients[0].virtual_hosts().create(workspace, &new).await?.revision.0;
    let waves = vec![percent(25, 3), percent(50, 3)];
    let new = NewRollout { waves, message: "test".into(), ..NewRollout::default() };
    let rollout = clients[0].rollouts().start(workspace, &new).await?.id;
    // Whichever has the lease, one of these takes it away, in the middle of a wave.
    for (gone, wave) in [(0, 0), (1, 1)] {
        let under_way = || async {
            let now = clients[gone].rollouts().get(rollout).await;
            now.is_ok_and(|it| it.waves[wave].state == WaveState::Soaking)
        };
        wait_for("the wave to be under way", PATIENCE, under_way).await?;
        servers[gone].process().kill().await?;
        let on = |it: &SimulatedAgent| it.state().version == revision;
        let now = clients[1 - gone].rollouts().get(rollout).await?;
        let reached: BTreeSet<_> =
            now.waves.iter().filter_map(|it| it.members.as_ref()).flatten().collect();
        let have: BTreeSet<_> = agents.iter().filter(|(_, it)| on(it)).map(|(id, _)| id).collect();
        assert!(have.is_subset(&reached), "{have:?} beside {reached:?}");
        let later = || async {
            let now = clients[1 - gone].rollouts().get(rollout).await;
            now.is_ok_and(|it| it.waves[wave + 1].state != WaveState::Waiting)
        };
        wait_for("the next wave", PATIENCE, later).await?;
        servers[gone].restart().await?;
    }
    let done = || async {
        let now = clients[0].rollouts().get(rollout).await;
        now.is_ok_and(|it| it.state == RolloutState::Completed)
    };
    wait_for("the rollout to be completed", PATIENCE, done).await?;
    let all = || async { agents.iter().all(|(_, it)| it.state().version == revision) };
    wait_for("all agents to have it", PATIENCE, all).await?;
    let done = clients[1].rollouts().get(rollout).await?;
    let sizes: Vec<_> = done.waves.iter().map(|it| it.figures.agents).collect();
    assert_eq!((sizes, done.reason), (vec![2, 3, 3], None));
    Ok(())
}
