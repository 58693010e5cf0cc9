//! The agent is killed before each write of an apply, one after the other: what it began is
//! finished or undone by the next one, before any server is reached, and nobody is turned away.

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nxmesh_benches::{
    Faults, Load, NginxBinary, ServerProcess, Surroundings, TestMesh, free_port, get, wait_for,
};
use nxmesh_core::{
    MergePatch,
    gateway::{
        Agent, AgentState, ConfigState, NewChangeSet, NewVirtualHost, VirtualHostId,
        link::ApplyStatus,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::matrix::{asked, mess};

const PATIENCE: Duration = Duration::from_secs(30);
const NAME: &str = "journal.example";
const OTHER: &str = "other.example";
/// Fewer writes than this are no apply.
const FEWEST: usize = 30;

/// How many of the writes with which an agent begins are tried.
const FIRST_WRITES: usize = 9;

/// What is applied while the agent is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All of it is served.
    Whole,
    /// A virtual host is refused, and held back.
    Part,
    /// nginx refuses it when it loads it, and the agent goes back.
    Undone,
}

/// What becomes of nginx when the agent is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nginx {
    Lives,
    Dies,
}

struct Killing {
    mesh: TestMesh,
    faults: Faults,
    kind: Kind,
    port: u16,
    host: VirtualHostId,
    other: VirtualHostId,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_is_finished_or_undone_after_a_kill_at_every_write() -> Result<()> {
    kill_at_every_write(Kind::Whole, Nginx::Lives).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_is_finished_or_undone_when_nginx_is_killed_too() -> Result<()> {
    kill_at_every_write(Kind::Whole, Nginx::Dies).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_holds_a_part_back_is_finished_or_undone_after_a_kill_at_every_write()
-> Result<()> {
    kill_at_every_write(Kind::Part, Nginx::Lives).await
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_is_finished_after_a_kill_at_every_write() -> Result<()> {
    kill_at_every_write(Kind::Undone, Nginx::Lives).await
}

async fn kill_at_every_write(kind: Kind, nginx: Nginx) -> Result<()> {
    let mut it = Killing::start(kind).await?;
    let began = Instant::now();
    let mut load = it.work(nginx);
    let mut killed_before = BTreeSet::new();
    let mut kills = 0;
    let mut answers = 0;
    for write in 1.. {
        it.faults.kill_at(write)?;
        let before = it.mesh.shown().await?.convergence.verified;
        it.change(write).await?;
        if !it.dies_of_it(write, before.as_ref()).await? {
            break;
        }
        kills += 1;
        let last = it.faults.writes()?.pop().context("nothing was written")?;
        killed_before.extend(last.split(' ').next().map(str::to_owned));
        let context = || format!("killed before write {write}: {last}");
        it.mend().await?;
        if nginx == Nginx::Dies {
            kill_nginx(&it.mesh);
        }
        it.comes_back(write).await.with_context(context)?;
        if let Some(load) = load.take() {
            let tally = load.stop().await;
            ensure!(tally.failures.is_empty(), "{}: clients met {:?}", context(), tally.failures);
            answers += tally.answers;
        }
        it.converges(write).await.with_context(context)?;
        load = it.work(nginx);
    }
    println!(
        "{kind:?}, nginx {nginx:?}: killed before {kills} writes, of {killed_before:?}, in {:.0} s; {answers} answers",
        began.elapsed().as_secs_f64()
    );
    ensure!(kills >= FEWEST, "only {kills} writes");
    for step in ["link", "make", "open", "remove", "rename", "sync", "write"] {
        ensure!(killed_before.contains(step), "never killed before {step}");
    }
    Ok(())
}

impl Killing {
    async fn start(kind: Kind) -> Result<Self> {
        let faults = Faults::new()?;
        let folder = tempfile::tempdir()?;
        let server = ServerProcess::start(&folder.path().join("server")).await?;
        let environment = faults.environment();
        let surroundings = Surroundings { environment, ..Surroundings::default() };
        let nginx = NginxBinary::packaged()?;
        let mesh = TestMesh::start_around(folder, server, &nginx, surroundings).await?;
        faults.check()?;
        let port = free_port();
        let new = |name: &str| -> Result<NewVirtualHost> {
            let location = location(0, &mesh);
            let new = json!({"name": name, "server_name": name, "listen_port": port, "locations": [location]});
            Ok(serde_json::from_value(new)?)
        };
        let (host, other) = (new(NAME)?, new(OTHER)?);
        let (host, other) = (mesh.serve(&host).await?.id, mesh.serve(&other).await?.id);
        let it = Self { mesh, faults, kind, port, host, other };
        if kind == Kind::Undone {
            it.key("$binary_remote_addr").await?;
        }
        it.converges(0).await?;
        Ok(it)
    }

    /// Clients ask all the time where nginx lives.
    fn work(&self, nginx: Nginx) -> Option<Load> {
        (nginx == Nginx::Lives).then(|| Load::fresh(1, self.port, NAME))
    }

    async fn change(&self, round: usize) -> Result<()> {
        let next = MergePatch::new(json!({"locations": [location(round, &self.mesh)]}))?;
        let hosts = self.mesh.client.virtual_hosts();
        match self.kind {
            Kind::Whole => {
                hosts.update(self.host, &next).await?;
            }
            Kind::Part => {
                let refused = format!("no such time {round}");
                let broken = MergePatch::new(json!({"custom_directives": {"expires": refused}}))?;
                let set = NewChangeSet::new("a part of it is refused")
                    .update_virtual_host(self.host, None, &next)
                    .update_virtual_host(self.other, None, &broken);
                self.mesh.client.changes().apply(self.mesh.workspace, &set).await?;
            }
            Kind::Undone => self.key("$request_uri").await?,
        }
        Ok(())
    }

    /// What was wrong is mended, before the next agent hears of it: it has to come to an end with
    /// what is on disk.
    async fn mend(&self) -> Result<()> {
        match self.kind {
            Kind::Whole => {}
            Kind::Part => {
                let mended = MergePatch::new(json!({"custom_directives": null}))?;
                self.mesh.client.virtual_hosts().update(self.other, &mended).await?;
            }
            Kind::Undone => self.key("$binary_remote_addr").await?,
        }
        Ok(())
    }

    /// A running nginx refuses another key of a zone; `nginx -t` does not.
    async fn key(&self, key: &str) -> Result<()> {
        let zone = format!("{key} zone=one:1m rate=100000r/s");
        let settings = json!({"settings": {"nginx_directives": {"limit_req_zone": zone}}});
        let settings = MergePatch::new(settings)?;
        self.mesh.client.workspaces().update(self.mesh.workspace, &settings).await?;
        Ok(())
    }

    /// Whether the agent dies of the change; if not, what it came to.
    async fn dies_of_it(&mut self, round: usize, before: Option<&ConfigState>) -> Result<bool> {
        let (kind, client, id) = (self.kind, self.mesh.client.clone(), self.mesh.agent_id);
        let over =
            || async { client.agents().get(id).await.is_ok_and(|it| is_over(kind, &it, before)) };
        let over = wait_for("the end of the apply", PATIENCE, over);
        tokio::select! {
            ended = self.mesh.agent.process().ended() => {
                ensure!(ended?.is_none(), "the agent ended by itself");
                Ok(true)
            }
            over = over => {
                over.with_context(|| format!("killed before write {round}"))?;
                Ok(false)
            }
        }
    }

    /// The next agents bring to an end what this one began, while the server is not there. The
    /// first of them dies too, before one of its first writes or when it has done all.
    async fn comes_back(&mut self, round: usize) -> Result<()> {
        let server = self.mesh.server.process().id().context("the server runs")?;
        let server = Pid::from_raw(server.try_into()?).context("the server has an id")?;
        kill_process(server, Signal::STOP)?;
        self.faults.kill_at(1 + round % FIRST_WRITES)?;
        self.mesh.agent.restart()?;
        let state = self.mesh.agent.folder().to_owned();
        let replayed = || is_done(&state);
        tokio::select! {
            _ = self.mesh.agent.process().ended() => {}
            // When it takes too long, that is told of the one after it.
            _ = wait_for("the journal to be replayed", PATIENCE, replayed) => {}
        }
        self.mesh.agent.kill().await?;
        self.faults.spare()?;
        self.mesh.agent.restart()?;
        let done = wait_for("the journal to be replayed", PATIENCE, replayed).await;
        let version = self.version().await;
        kill_process(server, Signal::CONT)?;
        done.with_context(|| format!("{:?}", mess(&state)))?;
        let version = version.context("nothing is served")?;
        // Of the round before, or of this one.
        ensure!(version == round || version + 1 == round || self.kind == Kind::Undone, "{version}");
        Ok(())
    }

    /// The change of this round is served, and all is well.
    async fn converges(&self, round: usize) -> Result<()> {
        let round = if self.kind == Kind::Undone { 0 } else { round };
        let is_well = || async {
            let shown = self.mesh.shown().await;
            let is_well =
                shown.is_ok_and(|it| it.state == AgentState::Online && !it.convergence.lagging);
            is_well && self.version().await == Some(round) && self.mess().is_empty()
        };
        let well = wait_for("all to be well", PATIENCE, is_well).await;
        well.map(|_| ()).with_context(|| format!("{:?}", self.mess()))
    }

    fn mess(&self) -> Vec<String> {
        mess(self.mesh.agent.folder())
    }

    /// Of which round nginx serves.
    async fn version(&self) -> Option<usize> {
        let (status, text) = get(self.port, NAME, "/").await.ok()?;
        let version = text.lines().find_map(|it| it.strip_prefix("X-Version: "));
        version.filter(|_| status == 200)?.parse().ok()
    }
}

fn location(round: usize, mesh: &TestMesh) -> Value {
    let header = json!({"name": "X-Version", "value": round.to_string()});
    let behind = format!("http://{}", mesh.backend.address());
    json!({"path": "/", "proxy_pass": behind, "custom_headers": [header]})
}

/// Whether an apply that nobody killed has come to what it must.
fn is_over(kind: Kind, shown: &Agent, before: Option<&ConfigState>) -> bool {
    let verified = shown.convergence.verified.as_ref();
    let is_another = verified.map(|it| &it.checksum) != before.map(|it| &it.checksum);
    match kind {
        Kind::Whole => is_another && !shown.convergence.lagging,
        Kind::Part => is_another && shown.quarantined_total == 1,
        Kind::Undone => {
            let last = shown.last_apply.as_ref();
            shown.convergence.lagging && last.is_some_and(|it| it.status == ApplyStatus::RolledBack)
        }
    }
}

/// Whether nginx serves what both links link to.
fn is_done(state: &Path) -> impl Future<Output = bool> + use<> {
    let state = state.to_owned();
    async move {
        let kept = fs::read(state.join("verified/generation.json")).unwrap_or_default();
        let kept: Value = serde_json::from_slice(&kept).unwrap_or_default();
        let served = asked(&state).await;
        let is_kept = served.is_some_and(|(_, content)| kept["checksum"] == content);
        is_kept && mess(&state).is_empty()
    }
}

/// Kills nginx with all its workers.
fn kill_nginx(mesh: &TestMesh) {
    let Some(master) = mesh.agent.nginx_pid() else { return };
    let workers = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
    let workers = workers.unwrap_or_default();
    let workers = workers.split_whitespace().filter_map(|it| it.parse().ok());
    let master = i32::try_from(master).ok();
    for pid in master.into_iter().chain(workers).filter_map(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}
