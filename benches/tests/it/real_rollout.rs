//! A rollout to agents that have an nginx each, under load.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use nxmesh_benches::{
    AgentProcess, Backend, Load, NginxBinary, ServerProcess, free_port, get, wait_for,
};
use nxmesh_client::{AgentFilter, Client, Received, Watch};
use nxmesh_core::{
    MergePatch, PageRequest,
    events::{Event, EventId},
    gateway::{
        Agent, AgentId, AgentState, NewLocation, NewRegistrationToken, NewRollout, NewTargetAgents,
        NewUpstream, NewVirtualHost, NewWave, Rollout, RolloutState, UpstreamId, UpstreamServer,
        WaveState,
    },
    tenancy::{NewOrganization, NewWorkspace, WorkspaceId},
};
use serde_json::json;
use tempfile::TempDir;

const AGENTS: usize = 5;
const HOST: &str = "shop.example";
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent with its nginx, which serves a virtual host of its own on this port: all are on one
/// machine.
struct Member {
    id: AgentId,
    port: u16,
    // It ends with this.
    _process: AgentProcess,
}

/// Agents whose virtual hosts all share an upstream of five servers; the first is the canary.
/// Delivery is staged.
struct Fleet {
    members: Vec<Member>,
    client: Client,
    workspace: WorkspaceId,
    upstream: UpstreamId,
    servers: Vec<String>,
    _backends: Vec<Backend>,
    _server: ServerProcess,
    _folder: TempDir,
}

impl Fleet {
    async fn start() -> Result<Self> {
        let (folder, nginx) = (tempfile::tempdir()?, NginxBinary::packaged()?);
        let server = ServerProcess::start(&folder.path().join("server")).await?;
        let client = server.client().await?;
        let new = NewOrganization { name: "Acme".into(), slug: "acme".into() };
        let organization = client.organizations().create(&new).await?;
        let new =
            NewWorkspace { name: "Test".into(), slug: "test".into(), settings: Default::default() };
        let workspace = client.workspaces().create(organization.id, &new).await?.id;
        let mut backends = Vec::new();
        for _ in 0..5 {
            backends.push(Backend::start("well\n").await?);
        }
        let servers: Vec<_> = backends.iter().map(Backend::address).collect();
        let new = NewUpstream {
            name: "shop".into(),
            algorithm: Default::default(),
            servers: servers.iter().map(UpstreamServer::at).collect(),
            health_check: None,
            keepalive_connections: 16,
        };
        let upstream = client.upstreams().create(workspace, &new).await?.id;
        let mut members = Vec::new();
        for number in 0..AGENTS {
            let tier = if number == 0 { "canary" } else { "main" };
            let token = NewRegistrationToken {
                name: format!("agent-{number}"),
                labels: BTreeMap::from([("tier".into(), tier.into())]),
                expires_in_hours: 1,
            };
            let token = client.agents().create_token(workspace, &token).await?;
            let (id, port) = (token.agent_id, free_port());
            client.virtual_hosts().create(workspace, &host(number, port, id, upstream)).await?;
            let state = folder.path().join(format!("agent-{number}"));
            let secret = token.token.expose();
            let process = AgentProcess::start(&state, &server.grpc(), secret, &nginx)?;
            members.push(Member { id, port, _process: process });
        }
        let (_backends, _server, _folder) = (backends, server, folder);
        let it =
            Self { members, client, workspace, upstream, servers, _backends, _server, _folder };
        for member in &it.members {
            it.serves_well(member).await?;
        }
        let staged = MergePatch::new(json!({"settings": {"delivery": "staged"}}))?;
        it.client.workspaces().update(workspace, &staged).await?;
        it.converged().await?;
        Ok(it)
    }

    /// Waits until one answer after the other is well: the workers from before answer no more.
    async fn serves_well(&self, member: &Member) -> Result<()> {
        let well = || async {
            for _ in 0..50 {
                if !get(member.port, HOST, "/").await.is_ok_and(|(status, _)| status == 200) {
                    return false;
                }
            }
            true
        };
        wait_for("an agent to serve what is well", PATIENCE, well).await?;
        Ok(())
    }

    /// Waits until all agents are proven to serve what they should.
    async fn converged(&self) -> Result<()> {
        let online = AgentFilter {
            state: Some(AgentState::Online),
            lagging: Some(false),
            ..AgentFilter::default()
        };
        let all = || async {
            let agents = self.client.agents();
            let page = agents.page(self.workspace, &online, PageRequest::default()).await;
            page.is_ok_and(|it| it.meta.total == AGENTS as u64)
        };
        wait_for("all agents to converge", PATIENCE, all).await?;
        Ok(())
    }

    async fn shown(&self, member: &Member) -> Result<Agent> {
        Ok(self.client.agents().get(member.id).await?)
    }

    /// Changes the upstream, and has the change go out: to the canary, to half, to the rest.
    async fn roll_out(&self, change: serde_json::Value, soak_seconds: u64) -> Result<Rollout> {
        let change = MergePatch::new(change)?;
        let revision = self.client.upstreams().update(self.upstream, &change).await?.revision;
        let canary =
            NewWave { selector: Some("tier=canary".into()), soak_seconds, ..NewWave::default() };
        let half = NewWave { percent: Some(50), ..NewWave::default() };
        let (waves, message) = (vec![canary, half], "test".to_owned());
        let new = NewRollout { waves, message, ..NewRollout::default() };
        let rollout = self.client.rollouts().start(self.workspace, &new).await?;
        assert_eq!(rollout.revision, revision);
        let over = || async {
            let now = self.client.rollouts().get(rollout.id).await;
            now.is_ok_and(|it| it.state != RolloutState::Running)
        };
        wait_for("the rollout to be over", PATIENCE, over).await?;
        Ok(self.client.rollouts().get(rollout.id).await?)
    }

    /// What was told of a rollout until it was halted.
    async fn told_of(&self, rollout: &Rollout) -> Result<Vec<Event>> {
        let mut watch = Watch::default();
        watch.patterns = vec!["rollout.*".parse()?];
        watch.since = Some(EventId(0));
        let mut events = self.client.events().watch(watch).await?;
        let mut told = Vec::new();
        loop {
            let Some(received) = events.next().await else { bail!("no more events") };
            let Received::Event(event) = received? else { continue };
            if event.event.data["rollout_id"] != json!(rollout.id) {
                continue;
            }
            let last = event.event.event_type.as_str() == "rollout.halted";
            told.push(*event);
            if last {
                return Ok(told);
            }
        }
    }
}

/// A virtual host of one agent.
fn host(number: usize, port: u16, agent: AgentId, upstream: UpstreamId) -> NewVirtualHost {
    let location = NewLocation {
        path: "/".into(),
        upstream_id: Some(upstream.to_string()),
        ..NewLocation::default()
    };
    NewVirtualHost {
        name: format!("shop {number}"),
        server_name: HOST.into(),
        listen_port: port.into(),
        locations: vec![location],
        target_agents: NewTargetAgents {
            kind: Some("agents".into()),
            agent_ids: Some(vec![agent.to_string()]),
            ..NewTargetAgents::default()
        },
        ..NewVirtualHost::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_breaks_a_fifth_of_all_answers_ends_with_the_canary() -> Result<()> {
    let fleet = Fleet::start().await?;
    let (canary, others) = fleet.members.split_first().context("agents")?;
    let at_others: Vec<_> = others.iter().map(|it| Load::kept(1, it.port, HOST)).collect();

    // A good change goes all the way.
    let at_canary = Load::kept(2, canary.port, HOST);
    let done = fleet.roll_out(json!({"keepalive_connections": 8}), 1).await?;
    assert_eq!((done.state, done.reason), (RolloutState::Completed, None));
    let waves: Vec<_> = done.waves.iter().map(|it| it.figures.agents).collect();
    assert_eq!(waves, [1, 2, 2]);
    fleet.converged().await?;
    for member in &fleet.members {
        let verified = fleet.shown(member).await?.convergence.verified;
        assert_eq!(verified.map(|it| it.revision), Some(done.revision));
    }
    let tally = at_canary.stop().await;
    assert!(tally.failures.is_empty() && tally.answers > 0, "{tally:?}");

    // One of five servers fails from the next change on.
    let broken = Backend::failing().await?;
    let good = fleet.shown(canary).await?.convergence.verified.context("it serves")?;
    let mut sent = Vec::new();
    for member in others {
        sent.push(fleet.shown(member).await?.convergence.sent);
    }
    let at_canary = Load::kept(2, canary.port, HOST);
    let mut servers = fleet.servers.clone();
    servers[4] = broken.address();
    let servers: Vec<_> = servers.iter().map(|it| json!({"address": it, "max_fails": 0})).collect();
    let halted = fleet.roll_out(json!({"servers": servers}), 600).await?;
    assert_eq!(halted.state, RolloutState::Halted, "{halted:?}");
    let reason = halted.reason.clone().context("a reason")?;
    assert!(reason.starts_with("max_5xx_percent: "), "{reason}");
    let [first, later @ ..] = halted.waves.as_slice() else { bail!("no waves") };
    assert_eq!((first.state, &first.members), (WaveState::TakenBack, &Some(vec![canary.id])));
    for wave in later {
        assert_eq!((wave.state, wave.started_at), (WaveState::Waiting, None));
    }

    // The canary is back on what was well; it had failed as the broken server does, and so only.
    fleet.converged().await?;
    let back = fleet.shown(canary).await?.convergence.verified.context("it serves")?;
    assert_eq!((back.checksum, back.revision), (good.checksum, done.revision));
    fleet.serves_well(canary).await?;
    let tally = at_canary.stop().await;
    assert!(!tally.failures.is_empty(), "{tally:?}");
    assert!(tally.failures.iter().all(|it| it == "status 500"), "{:?}", tally.failures);

    // Nobody else ever saw it.
    for ((member, load), sent) in others.iter().zip(at_others).zip(sent) {
        let tally = load.stop().await;
        assert!(tally.failures.is_empty() && tally.answers > 0, "{tally:?}");
        let shown = fleet.shown(member).await?;
        assert_eq!(shown.convergence.sent, sent, "it was sent nothing");
        assert_eq!(shown.health.context("its health")?.responses_5xx, 0);
    }
    let told = fleet.told_of(&halted).await?;
    let types: Vec<_> = told.iter().map(|it| it.event.event_type.as_str()).collect();
    assert_eq!(types, ["rollout.started", "rollout.wave_started", "rollout.halted"]);
    let data = &told[2].event.data;
    assert_eq!((&data["reason"], &data["revision"]), (&json!(reason), &json!(halted.revision)));
    Ok(())
}
