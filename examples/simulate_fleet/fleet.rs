use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use nxmesh_client::{AgentFilter, Client};
use nxmesh_core::{
    MergePatch, PageRequest,
    gateway::{
        NewGates, NewLocation, NewRegistrationToken, NewRollout, NewVirtualHost, NewWave, Rollout,
        RolloutId, RolloutState, VirtualHostId, WaveState,
    },
    simulated::{Conduct, Confirmed, SimulatedAgent, SimulatedState},
    tenancy::{NewOrganization, NewWorkspace, OrganizationId, WorkspaceId},
    transport::grpc::GrpcConnector,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::Args;

/// For how long the fleet may take to converge, once nothing is wrong with it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many of a hundred agents are the canaries of a rollout.
const CANARIES: usize = 10;

/// The agents, what they serve, and what has become of them so far.
pub(crate) struct Fleet {
    client: Client,
    organization: OrganizationId,
    workspace: WorkspaceId,
    hosts: Vec<VirtualHostId>,
    agents: Vec<SimulatedAgent>,
    confirmed: mpsc::Receiver<Confirmed>,
    began: Instant,
    changes: usize,
    /// The newest revision, and when it was made.
    newest: (u64, tokio::time::Instant),
    /// How long it took until an agent was proven to serve the newest revision.
    took: Vec<Duration>,
    all_took: Vec<Duration>,
    rollout: Option<RolloutId>,
    halted: usize,
}

impl Fleet {
    pub(crate) async fn start(args: &Args, client: Client, grpc: &str) -> Result<Self> {
        let slug = format!("simulated-{}", std::process::id());
        let organization = NewOrganization { name: "Simulated".into(), slug };
        let organization = client.organizations().create(&organization).await?.id;
        let new = NewWorkspace {
            name: "Fleet".into(),
            slug: "fleet".into(),
            settings: Default::default(),
        };
        let workspace = client.workspaces().create(organization, &new).await?.id;
        let canaries = (args.agents * CANARIES).div_ceil(100);
        let tokens = stream::iter(0..args.agents).map(|number| {
            let tier = if number < canaries { "canary" } else { "main" };
            let new = NewRegistrationToken {
                name: format!("web-{number:04}"),
                labels: BTreeMap::from([("tier".into(), tier.into())]),
                expires_in_hours: 1,
            };
            let agents = client.agents();
            async move { agents.create_token(workspace, &new).await }
        });
        let tokens: Vec<_> = tokens.buffered(32).try_collect().await?;
        // Agents are part of revisions too: what comes last is the newest.
        let (mut hosts, mut revision) = (Vec::new(), 0);
        for number in 1..=args.hosts {
            let host = client.virtual_hosts().create(workspace, &host(number)).await?;
            revision = host.revision.0;
            hosts.push(host.id);
        }
        if args.rollout {
            let staged = MergePatch::new(json!({"settings": {"delivery": "staged"}}))?;
            revision = client.workspaces().update(workspace, &staged).await?.revision.0;
        }
        let (confirm, confirmed) = mpsc::channel(args.agents);
        let mut agents = Vec::new();
        for token in tokens {
            let connector = Arc::new(GrpcConnector::new(grpc)?);
            let agent = SimulatedAgent::start(connector, token.token, Some(confirm.clone()));
            agent.conduct(|it| it.requests_per_second = 50);
            agents.push(agent);
        }
        Ok(Self {
            client,
            organization,
            workspace,
            hosts,
            agents,
            confirmed,
            began: Instant::now(),
            changes: 0,
            newest: (revision, tokio::time::Instant::now()),
            took: Vec::new(),
            all_took: Vec::new(),
            rollout: None,
            halted: 0,
        })
    }

    /// Change after change; with `--changes` until the last of them is on all agents.
    pub(crate) async fn run(&mut self, args: &Args) -> Result<()> {
        self.converge().await?;
        let mut due = Instant::now();
        while args.changes.is_none_or(|it| self.changes < it) {
            if self.rollout.is_some() {
                due = Instant::now() + Duration::from_secs(args.every);
            } else if Instant::now() >= due {
                self.change(args).await?;
                due = Instant::now() + Duration::from_secs(args.every);
            }
            self.listen().await?;
        }
        // The last one is seen for as long as the others.
        while self.rollout.is_some() || Instant::now() < due {
            self.listen().await?;
        }
        self.mend();
        self.say("all faults are gone");
        if args.rollout {
            self.roll_out(args, "all changes").await?;
        }
        let began = Instant::now();
        self.converge().await?;
        let (agents, took) = (self.agents.len(), began.elapsed().as_secs_f64());
        self.say(&format!("all {agents} agents serve what they should, {took:.1} s later"));
        self.sum_up();
        Ok(())
    }

    /// Waits until all agents serve what they should, and no rollout is under way.
    async fn converge(&mut self) -> Result<()> {
        let began = Instant::now();
        while self.listen().await? > 0 || self.rollout.is_some() {
            if began.elapsed() > PATIENCE {
                bail!("the fleet did not converge within {PATIENCE:?}");
            }
        }
        Ok(())
    }

    /// Changes one virtual host; every other time some agents meet faults with that.
    async fn change(&mut self, args: &Args) -> Result<()> {
        self.mend();
        self.changes += 1;
        let (number, revision) = (self.changes, self.newest.0 + 1);
        let host = self.hosts[number % self.hosts.len()];
        let faults = match number.is_multiple_of(2) {
            true => args.faults.drawn(number, self.agents.len()),
            false => Vec::new(),
        };
        for (fault, who, _) in &faults {
            for agent in who {
                self.agents[*agent].conduct(|it| fault.meet(it, revision, host));
            }
        }
        let header = json!({"name": "X-Change", "value": number.to_string()});
        let location = json!({"path": "/", "root": "/srv", "custom_headers": [header]});
        let patch = MergePatch::new(json!({"locations": [location]}))?;
        let began = tokio::time::Instant::now();
        let made = self.client.virtual_hosts().update(host, &patch).await?;
        if made.revision.0 != revision {
            bail!("somebody else changes the workspace too");
        }
        self.newest = (revision, began);
        self.all_took.append(&mut self.took);
        let told: Vec<_> =
            faults.iter().map(|(_, who, what)| format!("{} {what}", who.len())).collect();
        let told = if told.is_empty() { "all is well".to_owned() } else { told.join(", ") };
        self.say(&format!("change {number} of {} is revision {revision}: {told}", made.spec.name));
        if args.rollout { self.roll_out(args, &format!("change {number}")).await } else { Ok(()) }
    }

    /// Nothing is wrong with any agent from now on.
    fn mend(&self) {
        for agent in &self.agents {
            agent.conduct(|it| {
                let (requests, each) = (it.requests, it.requests_per_second);
                *it = Conduct::default();
                (it.requests, it.requests_per_second) = (requests, each);
            });
        }
    }

    async fn roll_out(&mut self, args: &Args, message: &str) -> Result<()> {
        let canaries = NewWave {
            selector: Some("tier=canary".into()),
            soak_seconds: args.soak,
            ..NewWave::default()
        };
        let half = NewWave { percent: Some(50), soak_seconds: 1, ..NewWave::default() };
        let new = NewRollout {
            revision: None,
            waves: vec![canaries, half],
            gates: NewGates { deadline_seconds: 60, ..NewGates::default() },
            message: message.into(),
        };
        self.rollout = Some(self.client.rollouts().start(self.workspace, &new).await?.id);
        Ok(())
    }

    /// Listens to the fleet for a second, and says how it is. Answers how many agents lag.
    async fn listen(&mut self) -> Result<u64> {
        let next = tokio::time::sleep(Duration::from_secs(1));
        tokio::pin!(next);
        loop {
            tokio::select! {
                Some(confirmed) = self.confirmed.recv() => {
                    if confirmed.version == self.newest.0 {
                        self.took.push(confirmed.at.saturating_duration_since(self.newest.1));
                    }
                }
                () = &mut next => break,
            }
        }
        let lagging = AgentFilter { lagging: Some(true), ..AgentFilter::default() };
        let page = PageRequest::new(1, 1)?;
        let lagging = self.client.agents().page(self.workspace, &lagging, page).await?.meta.total;
        let states: Vec<_> = self.agents.iter().map(SimulatedAgent::state).collect();
        let count = |is: fn(&&SimulatedState) -> bool| states.iter().filter(is).count();
        let (newest, _) = self.newest;
        let mut line = format!(
            "{} of {} connected, {} on revision {newest}, {lagging} lagging, {} hold back",
            count(|it| it.connected),
            states.len(),
            states.iter().filter(|it| it.version == newest).count(),
            count(|it| it.holds_back),
        );
        if !self.took.is_empty() {
            line += &format!(", proven after {}", spread(&mut self.took));
        }
        if let Some(rollout) = self.rollout {
            let now = self.client.rollouts().get(rollout).await?;
            line += &format!(", {}", wave(&now));
            self.say(&line);
            self.note(&now);
        } else {
            self.say(&line);
        }
        Ok(lagging)
    }

    /// Says what became of a rollout that is over.
    fn note(&mut self, rollout: &Rollout) {
        if rollout.state.is_under_way() {
            return;
        }
        self.rollout = None;
        let (state, message) = (said(rollout.state), &rollout.message);
        self.halted += usize::from(rollout.state == RolloutState::Halted);
        match &rollout.reason {
            Some(reason) => self.say(&format!("the rollout of {message} is {state}: {reason}")),
            None => self.say(&format!("the rollout of {message} is {state}")),
        }
    }

    fn say(&self, what: &str) {
        println!("{:>5.0} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn sum_up(&mut self) {
        self.all_took.append(&mut self.took);
        let states: Vec<_> = self.agents.iter().map(SimulatedAgent::state).collect();
        let (mut refusals, mut deaths, mut connections) = (0, 0, 0);
        for state in &states {
            refusals += state.refusals;
            deaths += state.deaths;
            connections += state.connections;
        }
        println!(
            "\n{} changes, proven {} times, after {}; {refusals} refusals, {deaths} deaths, {} connections \
             lost, {} rollouts halted",
            self.changes,
            self.all_took.len(),
            spread(&mut self.all_took),
            connections - states.len(),
            self.halted
        );
    }

    /// Leaves nothing behind.
    pub(crate) async fn end(self) -> Result<()> {
        drop(self.agents);
        Ok(self.client.organizations().delete_with_children(self.organization).await?)
    }
}

fn host(number: u16) -> NewVirtualHost {
    let location =
        NewLocation { path: "/".into(), root: Some("/srv".into()), ..NewLocation::default() };
    NewVirtualHost {
        name: format!("shop-{number}"),
        server_name: format!("shop-{number}.example"),
        listen_port: 80,
        locations: vec![location],
        ..NewVirtualHost::default()
    }
}

/// How long changes took until they were proven.
fn spread(took: &mut [Duration]) -> String {
    took.sort();
    let ms = |share: f64| {
        let at = (took.len().saturating_sub(1) as f64 * share).round() as usize;
        took.get(at).map_or(0.0, |it| it.as_secs_f64() * 1000.0)
    };
    format!("p50 {:.0} ms, p99 {:.0} ms", ms(0.5), ms(0.99))
}

fn wave(rollout: &Rollout) -> String {
    let started = rollout.waves.iter().filter(|it| it.state != WaveState::Waiting).count();
    format!("rollout {} in wave {started} of {}", said(rollout.state), rollout.waves.len())
}

fn said(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Running => "running",
        RolloutState::Paused => "paused",
        RolloutState::Halted => "halted",
        RolloutState::Completed => "completed",
        RolloutState::Aborted => "aborted",
    }
}
